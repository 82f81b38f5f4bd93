package main

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework-validators/datasourcevalidator"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

type locationDataSource struct{ lookup }

type locationModel struct {
	ID          types.Int64   `tfsdk:"id"`
	Name        types.String  `tfsdk:"name"`
	Description types.String  `tfsdk:"description"`
	Country     types.String  `tfsdk:"country"`
	City        types.String  `tfsdk:"city"`
	Latitude    types.Float64 `tfsdk:"latitude"`
	Longitude   types.Float64 `tfsdk:"longitude"`
	NetworkZone types.String  `tfsdk:"network_zone"`
}

func (*locationDataSource) Metadata(_ context.Context, _ datasource.MetadataRequest, response *datasource.MetadataResponse) {
	response.TypeName = "hcloud_location"
}

func (*locationDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, response *datasource.SchemaResponse) {
	response.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"id": asksNumber(), "name": asksText(), "description": tellsText(), "country": tellsText(), "city": tellsText(),
		"latitude": tellsDecimal(), "longitude": tellsDecimal(), "network_zone": tellsText(),
	}}
}

func (*locationDataSource) ConfigValidators(context.Context) []datasource.ConfigValidator {
	return []datasource.ConfigValidator{datasourcevalidator.ExactlyOneOf(path.MatchRoot("id"), path.MatchRoot("name"))}
}

func (l *locationDataSource) Read(ctx context.Context, request datasource.ReadRequest, response *datasource.ReadResponse) {
	var model locationModel
	response.Diagnostics.Append(request.Config.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	var location *hcloud.Location
	var err error
	missing := notFound("location", "id", model.ID)
	if !model.ID.IsNull() {
		location, _, err = l.client.Location.GetByID(ctx, model.ID.ValueInt64())
	} else {
		missing = notFound("location", "name", model.Name)
		location, _, err = l.client.Location.GetByName(ctx, model.Name.ValueString())
	}
	switch {
	case err != nil:
		response.Diagnostics.Append(failed(err)...)
	case location == nil:
		response.Diagnostics.Append(missing...)
	default:
		response.Diagnostics.Append(response.State.Set(ctx, &locationModel{
			ID: types.Int64Value(location.ID), Name: types.StringValue(location.Name),
			Description: types.StringValue(location.Description), Country: types.StringValue(location.Country),
			City: types.StringValue(location.City), Latitude: types.Float64Value(location.Latitude),
			Longitude: types.Float64Value(location.Longitude), NetworkZone: types.StringValue(string(location.NetworkZone)),
		})...)
	}
}
