package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework-nettypes/iptypes"
	"github.com/hashicorp/terraform-plugin-framework-validators/resourcevalidator"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/setdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

type serverNetworkResource struct{ withClient }

type serverNetworkModel struct {
	ID         types.String      `tfsdk:"id"`
	ServerID   types.Int64       `tfsdk:"server_id"`
	NetworkID  types.Int64       `tfsdk:"network_id"`
	SubnetID   types.String      `tfsdk:"subnet_id"`
	IP         iptypes.IPAddress `tfsdk:"ip"`
	AliasIPs   types.Set         `tfsdk:"alias_ips"`
	MACAddress types.String      `tfsdk:"mac_address"`
}

func (*serverNetworkResource) Metadata(_ context.Context, _ resource.MetadataRequest, response *resource.MetadataResponse) {
	response.TypeName = "hcloud_server_network"
}

func (*serverNetworkResource) Schema(_ context.Context, _ resource.SchemaRequest, response *resource.SchemaResponse) {
	kept := stringplanmodifier.UseStateForUnknown()
	noAliases := types.SetValueMust(iptypes.IPAddressType{}, nil)
	response.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"id":          schema.StringAttribute{Computed: true, PlanModifiers: []planmodifier.String{kept}},
		"mac_address": schema.StringAttribute{Computed: true, PlanModifiers: []planmodifier.String{kept}},
		"server_id":   schema.Int64Attribute{Required: true, PlanModifiers: []planmodifier.Int64{int64planmodifier.RequiresReplace()}},
		"network_id": schema.Int64Attribute{Optional: true, Computed: true, PlanModifiers: []planmodifier.Int64{
			int64planmodifier.RequiresReplace(), int64planmodifier.UseStateForUnknown(),
		}},
		"subnet_id": schema.StringAttribute{Optional: true, PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()}},
		"ip": schema.StringAttribute{CustomType: iptypes.IPAddressType{}, Optional: true, Computed: true,
			PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace(), kept}},
		"alias_ips": schema.SetAttribute{ElementType: iptypes.IPAddressType{}, Optional: true, Computed: true,
			Default: setdefault.StaticValue(noAliases)},
	}}
}

func (*serverNetworkResource) ConfigValidators(context.Context) []resource.ConfigValidator {
	return []resource.ConfigValidator{
		resourcevalidator.ExactlyOneOf(path.MatchRoot("network_id"), path.MatchRoot("subnet_id")),
	}
}

// ModifyPlan replaces an attachment whose subnet, as the state has it, lies in another network or does not hold the
// address.
func (*serverNetworkResource) ModifyPlan(ctx context.Context, request resource.ModifyPlanRequest, response *resource.ModifyPlanResponse) {
	if request.State.Raw.IsNull() || request.Plan.Raw.IsNull() {
		return
	}
	var state serverNetworkModel
	response.Diagnostics.Append(request.State.Get(ctx, &state)...)
	if response.Diagnostics.HasError() || state.SubnetID.IsNull() {
		return
	}
	at := path.Root("subnet_id")
	subnet := state.SubnetID.ValueString()
	network, ipRange, err := parseSubnetID(subnet)
	if err != nil {
		response.Diagnostics.AddAttributeError(at, "Invalid Subnet ID", capitalized(err))
		return
	}
	if !state.NetworkID.IsNull() && state.NetworkID.ValueInt64() != network.ID {
		response.Diagnostics.AddAttributeWarning(at, "Attachment network is different than the subnet network",
			fmt.Sprintf("Attachment network (%d) is different that the subnet network (%d) (%s).", state.NetworkID.ValueInt64(), network.ID, subnet))
		response.Diagnostics.Append(response.Plan.SetAttribute(ctx, path.Root("network_id"), network.ID)...)
		response.RequiresReplace.Append(path.Root("network_id"))
	}
	if address := net.ParseIP(state.IP.ValueString()); !state.IP.IsNull() && !ipRange.Contains(address) {
		response.Diagnostics.AddAttributeWarning(at, "Attachment IP is outside subnet IP range",
			fmt.Sprintf("Attachment IP (%s) is outside subnet IP range (%s) (%s).", address, ipRange, subnet))
		// Terraform passes over a replacement because of an attribute that does not change.
		response.Diagnostics.Append(response.Plan.SetAttribute(ctx, path.Root("ip"), iptypes.NewIPAddressUnknown())...)
		response.RequiresReplace.Append(path.Root("ip"))
	}
}

func capitalized(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}

func (m *serverNetworkModel) aliases(ctx context.Context) []net.IP {
	var texts []string
	m.AliasIPs.ElementsAs(ctx, &texts, true)
	addresses := []net.IP{}
	for _, text := range texts {
		addresses = append(addresses, net.ParseIP(text))
	}
	return addresses
}

func (r *serverNetworkResource) Create(ctx context.Context, request resource.CreateRequest, response *resource.CreateResponse) {
	var model serverNetworkModel
	response.Diagnostics.Append(request.Plan.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	server := &hcloud.Server{ID: model.ServerID.ValueInt64()}
	options := hcloud.ServerAttachToNetworkOpts{
		Network: &hcloud.Network{ID: model.NetworkID.ValueInt64()}, AliasIPs: model.aliases(ctx),
		IP: net.ParseIP(model.IP.ValueString()),
	}
	if !model.SubnetID.IsNull() {
		var err error
		if options.Network, options.IPRange, err = parseSubnetID(model.SubnetID.ValueString()); err != nil {
			response.Diagnostics.AddAttributeError(path.Root("subnet_id"), "Invalid Subnet ID", capitalized(err))
			return
		}
	}
	action, err := joinNetwork(ctx, r.client, server, options)
	response.Diagnostics.Append(outcome(ctx, r.client, action, err)...)
	if response.Diagnostics.HasError() {
		return
	}
	id := fmt.Sprintf("%d-%d", server.ID, options.Network.ID)
	response.Diagnostics.Append(response.State.SetAttribute(ctx, path.Root("id"), id)...)
	found, err := r.fill(ctx, &model, server, options.Network)
	switch {
	case err != nil:
		response.Diagnostics.Append(failed(err)...)
	case !found:
		response.Diagnostics.AddError("Resource vanished",
			fmt.Sprintf("Attachment of server (%s) to network (%s) vanished", model.ServerID, model.NetworkID))
	default:
		response.Diagnostics.Append(response.State.Set(ctx, &model)...)
	}
}

// fill reads the attachment; false when the server is gone or not in the network.
func (r *serverNetworkResource) fill(ctx context.Context, m *serverNetworkModel, server *hcloud.Server, network *hcloud.Network) (bool, error) {
	server, _, err := r.client.Server.GetByID(ctx, server.ID)
	if err != nil || server == nil {
		return false, err
	}
	private := server.PrivateNetFor(network)
	if private == nil {
		return false, nil
	}
	m.ID = types.StringValue(fmt.Sprintf("%d-%d", server.ID, network.ID))
	m.ServerID = types.Int64Value(server.ID)
	m.NetworkID = types.Int64Value(network.ID)
	m.IP = iptypes.NewIPAddressValue(private.IP.String())
	m.MACAddress = types.StringValue(private.MACAddress)
	aliases := []iptypes.IPAddress{}
	for _, text := range addressTexts(private.Aliases) {
		aliases = append(aliases, iptypes.NewIPAddressValue(text))
	}
	m.AliasIPs, _ = types.SetValueFrom(ctx, iptypes.IPAddressType{}, aliases)
	return true, nil
}

// members of the id `<server>-<network>`; nil, and an error in the diagnostics' form, for any other.
func members(id types.String) (*hcloud.Server, *hcloud.Network, string) {
	server, network, _ := strings.Cut(id.ValueString(), "-")
	serverID, serverProblem := strconv.ParseInt(server, 10, 64)
	networkID, networkProblem := strconv.ParseInt(network, 10, 64)
	if serverProblem != nil || networkProblem != nil {
		return nil, nil, fmt.Sprintf("Unexpected id '%s', expected '$SERVER_ID-$NETWORK_ID'", id.ValueString())
	}
	return &hcloud.Server{ID: serverID}, &hcloud.Network{ID: networkID}, ""
}

func (r *serverNetworkResource) Read(ctx context.Context, request resource.ReadRequest, response *resource.ReadResponse) {
	var model serverNetworkModel
	response.Diagnostics.Append(request.State.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	server, network, problem := members(model.ID)
	if problem != "" {
		response.Diagnostics.AddAttributeError(path.Root("id"), "Invalid ID", problem)
		return
	}
	found, err := r.fill(ctx, &model, server, network)
	switch {
	case err != nil:
		response.Diagnostics.Append(failed(err)...)
	case !found:
		response.State.RemoveResource(ctx)
	default:
		response.Diagnostics.Append(response.State.Set(ctx, &model)...)
	}
}

func (r *serverNetworkResource) Update(ctx context.Context, request resource.UpdateRequest, response *resource.UpdateResponse) {
	var state, plan serverNetworkModel
	response.Diagnostics.Append(request.State.Get(ctx, &state)...)
	response.Diagnostics.Append(request.Plan.Get(ctx, &plan)...)
	if response.Diagnostics.HasError() {
		return
	}
	server, network, problem := members(state.ID)
	if problem != "" {
		response.Diagnostics.AddAttributeError(path.Root("id"), "Invalid ID", problem)
		return
	}
	if !plan.AliasIPs.Equal(state.AliasIPs) {
		action, _, err := r.client.Server.ChangeAliasIPs(ctx, server,
			hcloud.ServerChangeAliasIPsOpts{Network: network, AliasIPs: plan.aliases(ctx)})
		response.Diagnostics.Append(outcome(ctx, r.client, action, err)...)
		if response.Diagnostics.HasError() {
			return
		}
	}
	found, err := r.fill(ctx, &state, server, network)
	switch {
	case err != nil:
		response.Diagnostics.Append(failed(err)...)
	case !found:
		response.Diagnostics.AddError("Resource vanished",
			fmt.Sprintf("Attachment of server (%s) to network (%s) vanished", state.ServerID, state.NetworkID))
	default:
		response.Diagnostics.Append(response.State.Set(ctx, &state)...)
	}
}

func (r *serverNetworkResource) Delete(ctx context.Context, request resource.DeleteRequest, response *resource.DeleteResponse) {
	var model serverNetworkModel
	response.Diagnostics.Append(request.State.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	server, network, problem := members(model.ID)
	if problem != "" {
		response.Diagnostics.AddAttributeError(path.Root("id"), "Invalid ID", problem)
		return
	}
	action, err := leaveNetwork(ctx, r.client, server, network)
	response.Diagnostics.Append(outcome(ctx, r.client, action, err)...)
}

func (*serverNetworkResource) ImportState(ctx context.Context, request resource.ImportStateRequest, response *resource.ImportStateResponse) {
	resource.ImportStatePassthroughID(ctx, path.Root("id"), request, response)
}
