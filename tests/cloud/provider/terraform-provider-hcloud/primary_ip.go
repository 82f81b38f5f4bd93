package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/hashicorp/terraform-plugin-framework-validators/resourcevalidator"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

type primaryIPResource struct{ withClient }

type primaryIPModel struct {
	ID               types.Int64  `tfsdk:"id"`
	Name             types.String `tfsdk:"name"`
	Type             types.String `tfsdk:"type"`
	Location         types.String `tfsdk:"location"`
	Datacenter       types.String `tfsdk:"datacenter"`
	AssigneeID       types.Int64  `tfsdk:"assignee_id"`
	AssigneeType     types.String `tfsdk:"assignee_type"`
	AutoDelete       types.Bool   `tfsdk:"auto_delete"`
	Labels           types.Map    `tfsdk:"labels"`
	DeleteProtection types.Bool   `tfsdk:"delete_protection"`
	IPAddress        types.String `tfsdk:"ip_address"`
	IPNetwork        types.String `tfsdk:"ip_network"`
}

func (m *primaryIPModel) fill(ctx context.Context, address *hcloud.PrimaryIP) {
	m.ID = types.Int64Value(address.ID)
	m.Name = types.StringValue(address.Name)
	m.Type = types.StringValue(string(address.Type))
	m.Location = types.StringValue(address.Location.Name)
	m.Datacenter = types.StringNull()
	m.AssigneeID = types.Int64Value(address.AssigneeID)
	m.AssigneeType = types.StringValue(address.AssigneeType)
	m.AutoDelete = types.BoolValue(address.AutoDelete)
	m.Labels = labelValues(ctx, address.Labels)
	m.DeleteProtection = types.BoolValue(address.Protection.Delete)
	m.IPAddress = types.StringValue(address.IP.String())
	m.IPNetwork = types.StringNull()
	if address.Type == hcloud.PrimaryIPTypeIPv6 {
		m.IPNetwork = types.StringValue(address.Network.String())
	}
}

func (*primaryIPResource) Metadata(_ context.Context, _ resource.MetadataRequest, response *resource.MetadataResponse) {
	response.TypeName = "hcloud_primary_ip"
}

func (*primaryIPResource) Schema(_ context.Context, _ resource.SchemaRequest, response *resource.SchemaResponse) {
	kept := []planmodifier.String{stringplanmodifier.UseStateForUnknown()}
	off := booldefault.StaticBool(false)
	response.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		// A number, unlike the ids of all other resources here.
		"id":   schema.Int64Attribute{Computed: true, PlanModifiers: []planmodifier.Int64{int64planmodifier.UseStateForUnknown()}},
		"name": schema.StringAttribute{Required: true},
		"type": schema.StringAttribute{Required: true, PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()}},
		"location": schema.StringAttribute{Optional: true, Computed: true, PlanModifiers: []planmodifier.String{
			stringplanmodifier.RequiresReplace(), stringplanmodifier.UseStateForUnknown(),
		}},
		"datacenter": schema.StringAttribute{Optional: true, Computed: true, DeprecationMessage: datacenterRemoved,
			Validators: []validator.String{removedAttribute{datacenterRemoved}}},
		"assignee_id":       schema.Int64Attribute{Optional: true, Computed: true},
		"assignee_type":     schema.StringAttribute{Optional: true, Computed: true},
		"auto_delete":       schema.BoolAttribute{Optional: true, Computed: true, Default: off},
		"labels":            frameworkLabels(),
		"delete_protection": schema.BoolAttribute{Optional: true, Computed: true, Default: off},
		"ip_address":        schema.StringAttribute{Computed: true, PlanModifiers: kept},
		"ip_network":        schema.StringAttribute{Computed: true, PlanModifiers: kept},
	}}
}

// removedAttribute is an attribute that must not be set any more.
type removedAttribute struct{ detail string }

func (removedAttribute) Description(context.Context) string { return "Attribute was removed" }

func (r removedAttribute) MarkdownDescription(ctx context.Context) string { return r.Description(ctx) }

func (r removedAttribute) ValidateString(_ context.Context, request validator.StringRequest, response *validator.StringResponse) {
	if !request.ConfigValue.IsNull() && !request.ConfigValue.IsUnknown() {
		response.Diagnostics.AddAttributeError(request.Path, "Removed Attribute", r.detail)
	}
}

func (*primaryIPResource) ConfigValidators(context.Context) []resource.ConfigValidator {
	return []resource.ConfigValidator{
		resourcevalidator.ExactlyOneOf(path.MatchRoot("location"), path.MatchRoot("assignee_id")),
	}
}

func (*primaryIPResource) ValidateConfig(ctx context.Context, request resource.ValidateConfigRequest, response *resource.ValidateConfigResponse) {
	var model primaryIPModel
	response.Diagnostics.Append(request.Config.Get(ctx, &model)...)
	if response.Diagnostics.HasError() || model.AssigneeID.IsUnknown() || model.AssigneeType.IsUnknown() {
		return
	}
	switch {
	case !model.AssigneeID.IsNull() && model.AssigneeType.IsNull():
		response.Diagnostics.AddAttributeError(path.Root("assignee_id"), "Invalid Attribute Combination",
			"These attributes must be configured together: [assignee_id,assignee_type]")
	case model.AssigneeID.IsNull() && !model.AssigneeType.IsNull():
		response.Diagnostics.AddAttributeWarning(path.Root("assignee_type"), "Unused Attribute",
			"This attribute is now optional and is only required together with the assignee_id attribute. Please remove it from your configuration.")
	}
}

func (r *primaryIPResource) Create(ctx context.Context, request resource.CreateRequest, response *resource.CreateResponse) {
	var model primaryIPModel
	response.Diagnostics.Append(request.Plan.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	options := hcloud.PrimaryIPCreateOpts{
		Name: model.Name.ValueString(), Type: hcloud.PrimaryIPType(model.Type.ValueString()),
		AutoDelete: model.AutoDelete.ValueBoolPointer(), Labels: labelTexts(ctx, model.Labels),
	}
	if location := model.Location.ValueString(); location != "" {
		options.Location = location
	} else if !model.AssigneeID.IsUnknown() && !model.AssigneeID.IsNull() {
		options.AssigneeID = model.AssigneeID.ValueInt64Pointer()
		options.AssigneeType = model.AssigneeType.ValueString()
	}
	result, _, err := r.client.PrimaryIP.Create(ctx, options)
	if err != nil {
		response.Diagnostics.Append(failed(err)...)
		return
	}
	// At once: whatever fails from here on leaves the address in the state, tainted.
	response.Diagnostics.Append(response.State.SetAttribute(ctx, path.Root("id"), result.PrimaryIP.ID)...)
	response.Diagnostics.Append(settled(ctx, r.client, result.Action)...)
	if !response.Diagnostics.HasError() && model.DeleteProtection.ValueBool() {
		response.Diagnostics.Append(r.protect(ctx, result.PrimaryIP.ID, true)...)
	}
	if response.Diagnostics.HasError() {
		return
	}
	address, _, err := r.client.PrimaryIP.GetByID(ctx, result.PrimaryIP.ID)
	if err != nil {
		response.Diagnostics.Append(failed(err)...)
		return
	}
	model.fill(ctx, address)
	response.Diagnostics.Append(response.State.Set(ctx, &model)...)
}

func (r *primaryIPResource) Read(ctx context.Context, request resource.ReadRequest, response *resource.ReadResponse) {
	var model primaryIPModel
	response.Diagnostics.Append(request.State.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	address, _, err := r.client.PrimaryIP.GetByID(ctx, model.ID.ValueInt64())
	switch {
	case err != nil:
		response.Diagnostics.Append(failed(err)...)
	case address == nil:
		response.State.RemoveResource(ctx)
	default:
		model.fill(ctx, address)
		response.Diagnostics.Append(response.State.Set(ctx, &model)...)
	}
}

// Update ends with a PUT, also when there is nothing for it to change: its answer is what the state becomes.
func (r *primaryIPResource) Update(ctx context.Context, request resource.UpdateRequest, response *resource.UpdateResponse) {
	var state, plan primaryIPModel
	response.Diagnostics.Append(request.State.Get(ctx, &state)...)
	response.Diagnostics.Append(request.Plan.Get(ctx, &plan)...)
	if response.Diagnostics.HasError() {
		return
	}
	id := state.ID.ValueInt64()
	if !plan.DeleteProtection.Equal(state.DeleteProtection) {
		response.Diagnostics.Append(r.protect(ctx, id, plan.DeleteProtection.ValueBool())...)
	}
	moved := !plan.AssigneeID.IsUnknown() && !plan.AssigneeID.Equal(state.AssigneeID) ||
		!plan.AssigneeType.IsUnknown() && !plan.AssigneeType.Equal(state.AssigneeType)
	if moved && state.AssigneeID.ValueInt64() != 0 && !response.Diagnostics.HasError() {
		action, _, err := r.client.PrimaryIP.Unassign(ctx, id)
		response.Diagnostics.Append(outcome(ctx, r.client, action, err)...)
	}
	if moved && plan.AssigneeID.ValueInt64() != 0 && !response.Diagnostics.HasError() {
		action, _, err := r.client.PrimaryIP.Assign(ctx, hcloud.PrimaryIPAssignOpts{
			ID: id, AssigneeID: plan.AssigneeID.ValueInt64(), AssigneeType: plan.AssigneeType.ValueString(),
		})
		response.Diagnostics.Append(outcome(ctx, r.client, action, err)...)
	}
	if response.Diagnostics.HasError() {
		return
	}
	options := hcloud.PrimaryIPUpdateOpts{}
	if !plan.Name.Equal(state.Name) {
		options.Name = plan.Name.ValueString()
	}
	if !plan.Labels.Equal(state.Labels) {
		labels := labelTexts(ctx, plan.Labels)
		options.Labels = &labels
	}
	if !plan.AutoDelete.Equal(state.AutoDelete) {
		options.AutoDelete = plan.AutoDelete.ValueBoolPointer()
	}
	address, _, err := r.client.PrimaryIP.Update(ctx, &hcloud.PrimaryIP{ID: id}, options)
	if err != nil {
		response.Diagnostics.Append(failed(err)...)
		return
	}
	state.fill(ctx, address)
	response.Diagnostics.Append(response.State.Set(ctx, &state)...)
}

func (r *primaryIPResource) Delete(ctx context.Context, request resource.DeleteRequest, response *resource.DeleteResponse) {
	var model primaryIPModel
	response.Diagnostics.Append(request.State.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	if model.AssigneeID.ValueInt64() != 0 {
		r.release(ctx, &model, response)
	}
	if response.Diagnostics.HasError() {
		return
	}
	unlessProtected := func(err error) bool { return !hcloud.IsError(err, hcloud.ErrorCodeProtected) }
	err := retried(ctx, 2*usualTries, unlessProtected, func() error {
		_, err := r.client.PrimaryIP.Delete(ctx, &hcloud.PrimaryIP{ID: model.ID.ValueInt64()})
		if hcloud.IsError(err, hcloud.ErrorCodeNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		response.Diagnostics.Append(failed(err)...)
	}
}

// release takes the address from a server that still has it, switched off meanwhile. Refused calls are passed over:
// the server may be on its way out; only actions that fail count.
func (r *primaryIPResource) release(ctx context.Context, model *primaryIPModel, response *resource.DeleteResponse) {
	id := model.ID.ValueInt64()
	unassign := func() (*hcloud.Action, *hcloud.Response, error) { return r.client.PrimaryIP.Unassign(ctx, id) }
	steps := []func() (*hcloud.Action, *hcloud.Response, error){unassign}
	if model.AssigneeType.ValueString() == "server" {
		server, _, err := r.client.Server.GetByID(ctx, model.AssigneeID.ValueInt64())
		if err != nil || server == nil || server.PublicNet.IPv4.ID != id && server.PublicNet.IPv6.ID != id {
			return
		}
		steps = []func() (*hcloud.Action, *hcloud.Response, error){
			func() (*hcloud.Action, *hcloud.Response, error) { return r.client.Server.Poweroff(ctx, server) },
			unassign,
			func() (*hcloud.Action, *hcloud.Response, error) { return r.client.Server.Poweron(ctx, server) },
		}
	}
	for _, take := range steps {
		action, _, _ := take()
		response.Diagnostics.Append(settled(ctx, r.client, action)...)
		if response.Diagnostics.HasError() {
			return
		}
	}
}

func (r *primaryIPResource) protect(ctx context.Context, id int64, on bool) diag.Diagnostics {
	action, _, err := r.client.PrimaryIP.ChangeProtection(ctx, hcloud.PrimaryIPChangeProtectionOpts{ID: id, Delete: on})
	return outcome(ctx, r.client, action, err)
}

func (*primaryIPResource) ImportState(ctx context.Context, request resource.ImportStateRequest, response *resource.ImportStateResponse) {
	id, err := strconv.ParseInt(request.ID, 10, 64)
	if err != nil {
		response.Diagnostics.AddError("Invalid import ID",
			fmt.Sprintf("Received an invalid import ID, expected '$PRIMARY_IP_ID' but received '%s'.", request.ID))
		return
	}
	response.Diagnostics.Append(response.State.SetAttribute(ctx, path.Root("id"), id)...)
}
