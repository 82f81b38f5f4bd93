package main

import (
	"context"
	"strconv"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

type sshKeyResource struct{ withClient }

type sshKeyModel struct {
	ID          types.String `tfsdk:"id"`
	Name        types.String `tfsdk:"name"`
	PublicKey   types.String `tfsdk:"public_key"`
	Fingerprint types.String `tfsdk:"fingerprint"`
	Labels      types.Map    `tfsdk:"labels"`
}

func (m *sshKeyModel) fill(ctx context.Context, key *hcloud.SSHKey) {
	m.ID = types.StringValue(formatID(key.ID))
	m.Name = types.StringValue(key.Name)
	m.PublicKey = types.StringValue(key.PublicKey)
	m.Fingerprint = types.StringValue(key.Fingerprint)
	m.Labels = labelValues(ctx, key.Labels)
}

func (*sshKeyResource) Metadata(_ context.Context, _ resource.MetadataRequest, response *resource.MetadataResponse) {
	response.TypeName = "hcloud_ssh_key"
}

func (*sshKeyResource) Schema(_ context.Context, _ resource.SchemaRequest, response *resource.SchemaResponse) {
	keep := []planmodifier.String{stringplanmodifier.UseStateForUnknown()}
	response.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"id":          schema.StringAttribute{Computed: true, PlanModifiers: keep},
		"fingerprint": schema.StringAttribute{Computed: true, PlanModifiers: keep},
		"name":        schema.StringAttribute{Required: true},
		"public_key": schema.StringAttribute{Required: true, PlanModifiers: []planmodifier.String{
			stringplanmodifier.RequiresReplace(),
		}},
		"labels": frameworkLabels(),
	}}
}

func (r *sshKeyResource) Create(ctx context.Context, request resource.CreateRequest, response *resource.CreateResponse) {
	var model sshKeyModel
	response.Diagnostics.Append(request.Plan.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	key, _, err := r.client.SSHKey.Create(ctx, hcloud.SSHKeyCreateOpts{
		Name: model.Name.ValueString(), PublicKey: model.PublicKey.ValueString(), Labels: labelTexts(ctx, model.Labels),
	})
	if err != nil {
		response.Diagnostics.Append(failed(err)...)
		return
	}
	model.fill(ctx, key)
	response.Diagnostics.Append(response.State.Set(ctx, &model)...)
}

func (r *sshKeyResource) Read(ctx context.Context, request resource.ReadRequest, response *resource.ReadResponse) {
	var model sshKeyModel
	response.Diagnostics.Append(request.State.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	key, _, err := r.client.SSHKey.GetByID(ctx, model.number())
	if err != nil {
		response.Diagnostics.Append(failed(err)...)
		return
	}
	if key == nil {
		response.State.RemoveResource(ctx)
		return
	}
	model.fill(ctx, key)
	response.Diagnostics.Append(response.State.Set(ctx, &model)...)
}

func (r *sshKeyResource) Update(ctx context.Context, request resource.UpdateRequest, response *resource.UpdateResponse) {
	var plan, state sshKeyModel
	response.Diagnostics.Append(request.Plan.Get(ctx, &plan)...)
	response.Diagnostics.Append(request.State.Get(ctx, &state)...)
	if response.Diagnostics.HasError() {
		return
	}
	options := hcloud.SSHKeyUpdateOpts{}
	if !plan.Name.Equal(state.Name) {
		options.Name = plan.Name.ValueString()
	}
	if !plan.Labels.Equal(state.Labels) {
		options.Labels = labelTexts(ctx, plan.Labels)
	}
	key, _, err := r.client.SSHKey.Update(ctx, &hcloud.SSHKey{ID: state.number()}, options)
	if err != nil {
		response.Diagnostics.Append(failed(err)...)
		return
	}
	plan.fill(ctx, key)
	response.Diagnostics.Append(response.State.Set(ctx, &plan)...)
}

func (r *sshKeyResource) Delete(ctx context.Context, request resource.DeleteRequest, response *resource.DeleteResponse) {
	var model sshKeyModel
	response.Diagnostics.Append(request.State.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	_, err := r.client.SSHKey.Delete(ctx, &hcloud.SSHKey{ID: model.number()})
	if err != nil && !hcloud.IsError(err, hcloud.ErrorCodeNotFound) {
		response.Diagnostics.Append(failed(err)...)
	}
}

func (*sshKeyResource) ImportState(ctx context.Context, request resource.ImportStateRequest, response *resource.ImportStateResponse) {
	resource.ImportStatePassthroughID(ctx, path.Root("id"), request, response)
}

// number is 0 for an id that is none; the API answers 404 to it.
func (m *sshKeyModel) number() int64 {
	id, _ := strconv.ParseInt(m.ID.ValueString(), 10, 64)
	return id
}
