package main

import (
	"context"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-validators/datasourcevalidator"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
	"github.com/hetznercloud/hcloud-go/v2/hcloud/exp/deprecationutil"
)

type imageDataSource struct{ lookup }

type imageModel struct {
	ID                types.Int64  `tfsdk:"id"`
	Type              types.String `tfsdk:"type"`
	Name              types.String `tfsdk:"name"`
	Description       types.String `tfsdk:"description"`
	Labels            types.Map    `tfsdk:"labels"`
	Created           types.String `tfsdk:"created"`
	OSFlavor          types.String `tfsdk:"os_flavor"`
	OSVersion         types.String `tfsdk:"os_version"`
	Architecture      types.String `tfsdk:"architecture"`
	RapidDeploy       types.Bool   `tfsdk:"rapid_deploy"`
	Deprecated        types.String `tfsdk:"deprecated"`
	Selector          types.String `tfsdk:"selector"`
	WithSelector      types.String `tfsdk:"with_selector"`
	WithStatus        types.Set    `tfsdk:"with_status"`
	WithArchitecture  types.String `tfsdk:"with_architecture"`
	MostRecent        types.Bool   `tfsdk:"most_recent"`
	IncludeDeprecated types.Bool   `tfsdk:"include_deprecated"`
}

func (*imageDataSource) Metadata(_ context.Context, _ datasource.MetadataRequest, response *datasource.MetadataResponse) {
	response.TypeName = "hcloud_image"
}

func (*imageDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, response *datasource.SchemaResponse) {
	response.Schema = schema.Schema{Attributes: withSelectors(map[string]schema.Attribute{
		"id": asksNumber(), "name": asksText(), "type": tellsText(), "description": tellsText(), "labels": tellsLabels(),
		"created": tellsText(), "os_flavor": tellsText(), "os_version": tellsText(), "architecture": tellsText(),
		"rapid_deploy": tellsFlag(), "deprecated": tellsText(),
		"with_status":       schema.SetAttribute{Optional: true, ElementType: types.StringType},
		"with_architecture": asksText(), "most_recent": asksFlag(), "include_deprecated": asksFlag(),
	})}
}

func (*imageDataSource) ConfigValidators(context.Context) []datasource.ConfigValidator {
	return []datasource.ConfigValidator{datasourcevalidator.ExactlyOneOf(
		path.MatchRoot("id"), path.MatchRoot("name"), path.MatchRoot("selector"), path.MatchRoot("with_selector"),
	)}
}

func (l *imageDataSource) Read(ctx context.Context, request datasource.ReadRequest, response *datasource.ReadResponse) {
	var model imageModel
	response.Diagnostics.Append(request.Config.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	image, problem := l.find(ctx, &model)
	if problem.HasError() {
		response.Diagnostics.Append(problem...)
		return
	}
	if message, unavailable := deprecationutil.ImageMessage(image); unavailable {
		response.Diagnostics.AddWarning("Image unavailable", message+".")
	} else if message != "" {
		response.Diagnostics.AddWarning("Image deprecated", message+".")
	}
	model.fill(ctx, image)
	response.Diagnostics.Append(response.State.Set(ctx, &model)...)
}

// find looks among the x86 images, unless another architecture is asked for.
func (l *imageDataSource) find(ctx context.Context, model *imageModel) (*hcloud.Image, diag.Diagnostics) {
	if !model.ID.IsNull() {
		image, _, err := l.client.Image.GetByID(ctx, model.ID.ValueInt64())
		if err != nil {
			return nil, failed(err)
		}
		if image == nil {
			return nil, notFound("image", "id", model.ID)
		}
		return image, nil
	}
	options := hcloud.ImageListOpts{
		Name: model.Name.ValueString(), IncludeDeprecated: model.IncludeDeprecated.ValueBool(),
		Architecture: []hcloud.Architecture{hcloud.ArchitectureX86},
	}
	using := "name: " + options.Name
	if model.Name.IsNull() {
		options.LabelSelector = firstOf(model.WithSelector.ValueString(), model.Selector.ValueString())
		using = "label selector: " + options.LabelSelector
	}
	var statuses []string
	model.WithStatus.ElementsAs(ctx, &statuses, true)
	for _, status := range statuses {
		options.Status = append(options.Status, hcloud.ImageStatus(status))
	}
	if !model.WithArchitecture.IsNull() {
		options.Architecture = []hcloud.Architecture{hcloud.Architecture(model.WithArchitecture.ValueString())}
	}
	pick := only[hcloud.Image]
	if model.MostRecent.ValueBool() {
		options.Sort = []string{"created:desc"}
		pick = first[hcloud.Image]
	}
	// One page: recorded.
	images, _, err := l.client.Image.List(ctx, options)
	if err != nil {
		return nil, failed(err)
	}
	return pick(images, "image", using, options.Values())
}

func (m *imageModel) fill(ctx context.Context, image *hcloud.Image) {
	m.ID = types.Int64Value(image.ID)
	m.Type = types.StringValue(string(image.Type))
	m.Name = types.StringValue(image.Name)
	m.Description = types.StringValue(image.Description)
	m.Labels = labelValues(ctx, image.Labels)
	m.Created = types.StringValue(image.Created.Format(time.RFC3339))
	m.OSFlavor = types.StringValue(image.OSFlavor)
	m.OSVersion = types.StringValue(image.OSVersion)
	m.Architecture = types.StringValue(string(image.Architecture))
	m.RapidDeploy = types.BoolValue(image.RapidDeploy)
	m.Deprecated = types.StringNull()
	if !image.Deprecated.IsZero() {
		m.Deprecated = types.StringValue(image.Deprecated.Format(time.RFC3339))
	}
}
