package main

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/setplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

type serverNetworkResource struct{ withClient }

type serverNetworkModel struct {
	ID         types.String `tfsdk:"id"`
	ServerID   types.Int64  `tfsdk:"server_id"`
	NetworkID  types.Int64  `tfsdk:"network_id"`
	SubnetID   types.String `tfsdk:"subnet_id"`
	IP         types.String `tfsdk:"ip"`
	AliasIPs   types.Set    `tfsdk:"alias_ips"`
	MACAddress types.String `tfsdk:"mac_address"`
}

func (*serverNetworkResource) Metadata(_ context.Context, _ resource.MetadataRequest, response *resource.MetadataResponse) {
	response.TypeName = "hcloud_server_network"
}

func (*serverNetworkResource) Schema(_ context.Context, _ resource.SchemaRequest, response *resource.SchemaResponse) {
	keep := stringplanmodifier.UseStateForUnknown()
	response.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"id":          schema.StringAttribute{Computed: true, PlanModifiers: []planmodifier.String{keep}},
		"mac_address": schema.StringAttribute{Computed: true, PlanModifiers: []planmodifier.String{keep}},
		// The real schema's numbers are plain numbers; Int64Attribute is one on the wire.
		"server_id": schema.Int64Attribute{Required: true, PlanModifiers: []planmodifier.Int64{int64planmodifier.RequiresReplace()}},
		"network_id": schema.Int64Attribute{Optional: true, Computed: true, PlanModifiers: []planmodifier.Int64{
			int64planmodifier.UseStateForUnknown(), int64planmodifier.RequiresReplace(),
		}},
		"subnet_id": schema.StringAttribute{Optional: true, PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()}},
		"ip":        schema.StringAttribute{Optional: true, Computed: true, PlanModifiers: []planmodifier.String{keep, stringplanmodifier.RequiresReplace()}},
		"alias_ips": schema.SetAttribute{ElementType: types.StringType, Optional: true, Computed: true,
			PlanModifiers: []planmodifier.Set{setplanmodifier.UseStateForUnknown()}},
	}}
}

func (m *serverNetworkModel) network() (*hcloud.Network, error) {
	id, err := networkIDOf(map[string]any{"network_id": int(m.NetworkID.ValueInt64()), "subnet_id": m.SubnetID.ValueString()})
	return &hcloud.Network{ID: id}, err
}

func (m *serverNetworkModel) aliases(ctx context.Context) []net.IP {
	var texts []string
	m.AliasIPs.ElementsAs(ctx, &texts, true)
	var addresses []net.IP
	for _, text := range texts {
		addresses = append(addresses, net.ParseIP(text))
	}
	return addresses
}

// read fills the model from the server; false when the server is gone or not in the network.
func (r *serverNetworkResource) read(ctx context.Context, m *serverNetworkModel) (bool, error) {
	server, _, err := r.client.Server.GetByID(ctx, m.ServerID.ValueInt64())
	if err != nil || server == nil {
		return false, err
	}
	network, err := m.network()
	if err != nil {
		return false, err
	}
	for _, private := range server.PrivateNet {
		if private.Network.ID != network.ID {
			continue
		}
		aliases := []string{}
		for _, alias := range private.Aliases {
			aliases = append(aliases, alias.String())
		}
		m.ID = types.StringValue(fmt.Sprintf("%d-%d", server.ID, network.ID))
		m.NetworkID = types.Int64Value(network.ID)
		m.IP = types.StringValue(private.IP.String())
		m.MACAddress = types.StringValue(private.MACAddress)
		m.AliasIPs, _ = types.SetValueFrom(ctx, types.StringType, aliases)
		return true, nil
	}
	return false, nil
}

func (r *serverNetworkResource) Create(ctx context.Context, request resource.CreateRequest, response *resource.CreateResponse) {
	var model serverNetworkModel
	response.Diagnostics.Append(request.Plan.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	if err := r.attach(ctx, &model); err != nil {
		response.Diagnostics.Append(failed(err))
		return
	}
	found, err := r.read(ctx, &model)
	if err != nil {
		response.Diagnostics.Append(failed(err))
		return
	}
	if !found {
		response.Diagnostics.Append(diag.NewErrorDiagnostic("API request failed", "the server is not in the network after attaching it"))
		return
	}
	response.Diagnostics.Append(response.State.Set(ctx, &model)...)
}

func (r *serverNetworkResource) attach(ctx context.Context, model *serverNetworkModel) error {
	network, err := model.network()
	if err != nil {
		return err
	}
	options := hcloud.ServerAttachToNetworkOpts{Network: network, AliasIPs: model.aliases(ctx)}
	if ip := model.IP.ValueString(); ip != "" {
		options.IP = net.ParseIP(ip)
	}
	if _, cidr, found := strings.Cut(model.SubnetID.ValueString(), "-"); found {
		if _, options.IPRange, err = net.ParseCIDR(cidr); err != nil {
			return err
		}
	}
	return retried(ctx, 5, func() error {
		action, _, err := r.client.Server.AttachToNetwork(ctx, &hcloud.Server{ID: model.ServerID.ValueInt64()}, options)
		if err != nil {
			return err
		}
		return waitFor(ctx, r.client, action)
	}, hcloud.ErrorCodeConflict, hcloud.ErrorCodeLocked, hcloud.ErrorCodeServiceError, hcloud.ErrorCodeNoSubnetAvailable)
}

func (r *serverNetworkResource) Read(ctx context.Context, request resource.ReadRequest, response *resource.ReadResponse) {
	var model serverNetworkModel
	response.Diagnostics.Append(request.State.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	found, err := r.read(ctx, &model)
	switch {
	case err != nil:
		response.Diagnostics.Append(failed(err))
	case !found:
		response.State.RemoveResource(ctx)
	default:
		response.Diagnostics.Append(response.State.Set(ctx, &model)...)
	}
}

func (r *serverNetworkResource) Update(ctx context.Context, request resource.UpdateRequest, response *resource.UpdateResponse) {
	var plan serverNetworkModel
	response.Diagnostics.Append(request.Plan.Get(ctx, &plan)...)
	if response.Diagnostics.HasError() {
		return
	}
	network, err := plan.network()
	if err == nil {
		var action *hcloud.Action
		action, _, err = r.client.Server.ChangeAliasIPs(ctx, &hcloud.Server{ID: plan.ServerID.ValueInt64()},
			hcloud.ServerChangeAliasIPsOpts{Network: network, AliasIPs: plan.aliases(ctx)})
		if err == nil {
			err = waitFor(ctx, r.client, action)
		}
	}
	if err == nil {
		_, err = r.read(ctx, &plan)
	}
	if err != nil {
		response.Diagnostics.Append(failed(err))
		return
	}
	response.Diagnostics.Append(response.State.Set(ctx, &plan)...)
}

func (r *serverNetworkResource) Delete(ctx context.Context, request resource.DeleteRequest, response *resource.DeleteResponse) {
	var model serverNetworkModel
	response.Diagnostics.Append(request.State.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	network, err := model.network()
	if err != nil {
		response.Diagnostics.Append(failed(err))
		return
	}
	err = retried(ctx, 5, func() error {
		action, _, err := r.client.Server.DetachFromNetwork(ctx, &hcloud.Server{ID: model.ServerID.ValueInt64()},
			hcloud.ServerDetachFromNetworkOpts{Network: network})
		if hcloud.IsError(err, hcloud.ErrorCodeNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return waitFor(ctx, r.client, action)
	}, hcloud.ErrorCodeConflict, hcloud.ErrorCodeLocked)
	if err != nil {
		response.Diagnostics.Append(failed(err))
	}
}
