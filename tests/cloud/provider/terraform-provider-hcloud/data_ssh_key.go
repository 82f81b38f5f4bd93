package main

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework-validators/datasourcevalidator"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

type sshKeyDataSource struct{ lookup }

type sshKeyLookupModel struct {
	ID           types.Int64  `tfsdk:"id"`
	Name         types.String `tfsdk:"name"`
	Fingerprint  types.String `tfsdk:"fingerprint"`
	PublicKey    types.String `tfsdk:"public_key"`
	Labels       types.Map    `tfsdk:"labels"`
	Selector     types.String `tfsdk:"selector"`
	WithSelector types.String `tfsdk:"with_selector"`
}

func (*sshKeyDataSource) Metadata(_ context.Context, _ datasource.MetadataRequest, response *datasource.MetadataResponse) {
	response.TypeName = "hcloud_ssh_key"
}

func (*sshKeyDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, response *datasource.SchemaResponse) {
	response.Schema = schema.Schema{Attributes: withSelectors(map[string]schema.Attribute{
		// A number, though the resource's id is a text.
		"id": asksNumber(), "name": asksText(), "fingerprint": asksText(), "public_key": tellsText(), "labels": tellsLabels(),
	})}
}

func (*sshKeyDataSource) ConfigValidators(context.Context) []datasource.ConfigValidator {
	return []datasource.ConfigValidator{datasourcevalidator.ExactlyOneOf(
		path.MatchRoot("id"), path.MatchRoot("name"), path.MatchRoot("fingerprint"),
		path.MatchRoot("selector"), path.MatchRoot("with_selector"),
	)}
}

func (l *sshKeyDataSource) Read(ctx context.Context, request datasource.ReadRequest, response *datasource.ReadResponse) {
	var model sshKeyLookupModel
	response.Diagnostics.Append(request.Config.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	key, problem := l.find(ctx, &model)
	if problem.HasError() {
		response.Diagnostics.Append(problem...)
		return
	}
	model.ID = types.Int64Value(key.ID)
	model.Name = types.StringValue(key.Name)
	model.Fingerprint = types.StringValue(key.Fingerprint)
	model.PublicKey = types.StringValue(key.PublicKey)
	model.Labels = labelValues(ctx, key.Labels)
	response.Diagnostics.Append(response.State.Set(ctx, &model)...)
}

func (l *sshKeyDataSource) find(ctx context.Context, model *sshKeyLookupModel) (*hcloud.SSHKey, diag.Diagnostics) {
	var key *hcloud.SSHKey
	var err error
	var missing diag.Diagnostics
	switch {
	case !model.ID.IsNull():
		missing = notFound("ssh key", "id", model.ID)
		key, _, err = l.client.SSHKey.GetByID(ctx, model.ID.ValueInt64())
	case !model.Name.IsNull():
		missing = notFound("ssh key", "name", model.Name)
		key, _, err = l.client.SSHKey.GetByName(ctx, model.Name.ValueString())
	case !model.Fingerprint.IsNull():
		missing = notFound("ssh key", "fingerprint", model.Fingerprint)
		key, _, err = l.client.SSHKey.GetByFingerprint(ctx, model.Fingerprint.ValueString())
	default:
		selector := firstOf(model.WithSelector.ValueString(), model.Selector.ValueString())
		options := hcloud.SSHKeyListOpts{ListOpts: hcloud.ListOpts{LabelSelector: selector}}
		keys, err := l.client.SSHKey.AllWithOpts(ctx, options)
		if err != nil {
			return nil, failed(err)
		}
		return only(keys, "ssh key", "label selector: "+selector, options.Values())
	}
	if err != nil {
		return nil, failed(err)
	}
	if key == nil {
		return nil, missing
	}
	return key, nil
}
