package main

import (
	"context"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-validators/datasourcevalidator"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
	"github.com/hetznercloud/hcloud-go/v2/hcloud/exp/deprecationutil"
)

type serverTypeDataSource struct{ lookup }

type serverTypeModel struct {
	ID              types.Int64               `tfsdk:"id"`
	Name            types.String              `tfsdk:"name"`
	Description     types.String              `tfsdk:"description"`
	Category        types.String              `tfsdk:"category"`
	Cores           types.Int32               `tfsdk:"cores"`
	Memory          types.Int32               `tfsdk:"memory"`
	Disk            types.Int32               `tfsdk:"disk"`
	StorageType     types.String              `tfsdk:"storage_type"`
	CPUType         types.String              `tfsdk:"cpu_type"`
	Architecture    types.String              `tfsdk:"architecture"`
	Locations       []serverTypeLocationModel `tfsdk:"locations"`
	IncludedTraffic types.Int64               `tfsdk:"included_traffic"`
	deprecationModel
}

type serverTypeLocationModel struct {
	ID          types.Int64  `tfsdk:"id"`
	Name        types.String `tfsdk:"name"`
	Available   types.Bool   `tfsdk:"available"`
	Recommended types.Bool   `tfsdk:"recommended"`
	deprecationModel
}

type deprecationModel struct {
	IsDeprecated         types.Bool   `tfsdk:"is_deprecated"`
	DeprecationAnnounced types.String `tfsdk:"deprecation_announced"`
	UnavailableAfter     types.String `tfsdk:"unavailable_after"`
}

// deprecationOf has empty texts, not nulls, for what is not deprecated.
func deprecationOf(thing hcloud.Deprecatable) deprecationModel {
	text := func(when time.Time) types.String {
		if !thing.IsDeprecated() {
			return types.StringValue("")
		}
		return types.StringValue(when.Format(time.RFC3339))
	}
	return deprecationModel{
		types.BoolValue(thing.IsDeprecated()), text(thing.DeprecationAnnounced()), text(thing.UnavailableAfter()),
	}
}

func (*serverTypeDataSource) Metadata(_ context.Context, _ datasource.MetadataRequest, response *datasource.MetadataResponse) {
	response.TypeName = "hcloud_server_type"
}

func (*serverTypeDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, response *datasource.SchemaResponse) {
	const moved = "The field is deprecated and will gradually be phased out starting 2025-09-24. Use the deprecation in the locations list instead."
	response.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"id": asksNumber(), "name": asksText(), "description": tellsText(), "category": tellsText(),
		"cores": tellsShort(), "memory": tellsShort(), "disk": tellsShort(),
		"storage_type": tellsText(), "cpu_type": tellsText(), "architecture": tellsText(),
		"locations": schema.ListNestedAttribute{Computed: true, NestedObject: schema.NestedAttributeObject{
			Attributes: map[string]schema.Attribute{
				"id": tellsNumber(), "name": tellsText(), "available": tellsFlag(), "recommended": tellsFlag(),
				"is_deprecated": tellsFlag(), "deprecation_announced": tellsText(), "unavailable_after": tellsText(),
			},
		}},
		"included_traffic": schema.Int64Attribute{Computed: true,
			DeprecationMessage: "The field is deprecated and will always report 0 after 2024-08-05."},
		"is_deprecated":         schema.BoolAttribute{Computed: true, DeprecationMessage: moved},
		"deprecation_announced": schema.StringAttribute{Computed: true, DeprecationMessage: moved},
		"unavailable_after":     schema.StringAttribute{Computed: true, DeprecationMessage: moved},
	}}
}

func (*serverTypeDataSource) ConfigValidators(context.Context) []datasource.ConfigValidator {
	return []datasource.ConfigValidator{datasourcevalidator.ExactlyOneOf(path.MatchRoot("id"), path.MatchRoot("name"))}
}

func (l *serverTypeDataSource) Read(ctx context.Context, request datasource.ReadRequest, response *datasource.ReadResponse) {
	var model serverTypeModel
	response.Diagnostics.Append(request.Config.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	var serverType *hcloud.ServerType
	var err error
	missing := notFound("server type", "id", model.ID)
	if !model.ID.IsNull() {
		serverType, _, err = l.client.ServerType.GetByID(ctx, model.ID.ValueInt64())
	} else {
		missing = notFound("server type", "name", model.Name)
		serverType, _, err = l.client.ServerType.GetByName(ctx, model.Name.ValueString())
	}
	if err != nil {
		response.Diagnostics.Append(failed(err)...)
		return
	}
	if serverType == nil {
		response.Diagnostics.Append(missing...)
		return
	}
	if message, unavailable := deprecationutil.ServerTypeMessage(serverType, ""); unavailable {
		response.Diagnostics.AddWarning("Server Type unavailable", message+".")
	} else if message != "" {
		response.Diagnostics.AddWarning("Server Type deprecated", message+".")
	}
	model.fill(serverType)
	response.Diagnostics.Append(response.State.Set(ctx, &model)...)
}

func (m *serverTypeModel) fill(serverType *hcloud.ServerType) {
	m.ID = types.Int64Value(serverType.ID)
	m.Name = types.StringValue(serverType.Name)
	m.Description = types.StringValue(serverType.Description)
	m.Category = types.StringValue(serverType.Category)
	m.Cores = types.Int32Value(int32(serverType.Cores))
	m.Memory = types.Int32Value(int32(serverType.Memory))
	m.Disk = types.Int32Value(int32(serverType.Disk))
	m.StorageType = types.StringValue(string(serverType.StorageType))
	m.CPUType = types.StringValue(string(serverType.CPUType))
	m.Architecture = types.StringValue(string(serverType.Architecture))
	m.IncludedTraffic = types.Int64Value(serverType.IncludedTraffic)
	m.deprecationModel = deprecationOf(serverType)
	m.Locations = []serverTypeLocationModel{}
	for _, location := range serverType.Locations {
		m.Locations = append(m.Locations, serverTypeLocationModel{
			types.Int64Value(location.Location.ID), types.StringValue(location.Location.Name),
			types.BoolValue(location.Available), types.BoolValue(location.Recommended), deprecationOf(location),
		})
	}
}
