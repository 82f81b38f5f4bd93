package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

var pollFunctions = []string{"constant", "exponential"}

type frameworkProvider struct{}

func (*frameworkProvider) Metadata(_ context.Context, _ provider.MetadataRequest, response *provider.MetadataResponse) {
	response.TypeName = "hcloud"
	response.Version = version
}

func (*frameworkProvider) Schema(_ context.Context, _ provider.SchemaRequest, response *provider.SchemaResponse) {
	response.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"token":            schema.StringAttribute{Optional: true, Sensitive: true},
		"endpoint":         schema.StringAttribute{Optional: true},
		"endpoint_hetzner": schema.StringAttribute{Optional: true},
		"poll_interval":    schema.StringAttribute{Optional: true},
		"poll_function": schema.StringAttribute{Optional: true, Validators: []validator.String{
			stringvalidator.OneOf(pollFunctions...),
		}},
	}}
}

func (*frameworkProvider) Configure(ctx context.Context, request provider.ConfigureRequest, response *provider.ConfigureResponse) {
	var model struct {
		Token           types.String `tfsdk:"token"`
		Endpoint        types.String `tfsdk:"endpoint"`
		EndpointHetzner types.String `tfsdk:"endpoint_hetzner"`
		PollInterval    types.String `tfsdk:"poll_interval"`
		PollFunction    types.String `tfsdk:"poll_function"`
	}
	response.Diagnostics.Append(request.Config.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	given := settings{
		token:           firstOf(model.Token.ValueString(), os.Getenv("HCLOUD_TOKEN")),
		endpoint:        firstOf(model.Endpoint.ValueString(), os.Getenv("HCLOUD_ENDPOINT")),
		endpointHetzner: firstOf(model.EndpointHetzner.ValueString(), os.Getenv("HETZNER_ENDPOINT")),
		// Without an interval poll_function has no effect in this half.
		poll: hcloud.ExponentialBackoffWithOpts(hcloud.ExponentialBackoffOpts{
			Base: 500 * time.Millisecond, Multiplier: 2, Cap: 10 * time.Second,
		}),
	}
	if given.token == "" {
		response.Diagnostics.AddAttributeError(path.Root("token"), "Missing Hetzner Cloud API token",
			"While configuring the provider, the Hetzner Cloud API token was not found in the HCLOUD_TOKEN environment variable or provider configuration block token attribute.")
	}
	if text := model.PollInterval.ValueString(); text != "" {
		interval, err := time.ParseDuration(text)
		if err != nil {
			response.Diagnostics.AddAttributeError(path.Root("poll_interval"), "Unparsable poll interval value",
				fmt.Sprintf("An unexpected error was encountered trying to parse the value.\n\n%s", err))
		}
		given.poll = polling(model.PollFunction.ValueString(), interval)
	}
	if response.Diagnostics.HasError() {
		return
	}
	client := given.client()
	response.ResourceData = client
	response.DataSourceData = client
}

func (*frameworkProvider) DataSources(context.Context) []func() datasource.DataSource {
	return []func() datasource.DataSource{
		func() datasource.DataSource { return &imageDataSource{} },
		func() datasource.DataSource { return &locationDataSource{} },
		func() datasource.DataSource { return &serverTypeDataSource{} },
		func() datasource.DataSource { return &sshKeyDataSource{} },
	}
}

func (*frameworkProvider) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{
		func() resource.Resource { return &primaryIPResource{} },
		func() resource.Resource { return &serverNetworkResource{} },
		func() resource.Resource { return &sshKeyResource{} },
	}
}

// withClient is what the framework resources have in common.
type withClient struct{ client *hcloud.Client }

func (w *withClient) Configure(_ context.Context, request resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	if client, ok := request.ProviderData.(*hcloud.Client); ok {
		w.client = client
	}
}

// lookup is what the framework data sources have in common.
type lookup struct{ client *hcloud.Client }

func (l *lookup) Configure(_ context.Context, request datasource.ConfigureRequest, _ *datasource.ConfigureResponse) {
	if client, ok := request.ProviderData.(*hcloud.Client); ok {
		l.client = client
	}
}
