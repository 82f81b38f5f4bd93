package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

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
		"poll_function":    schema.StringAttribute{Optional: true},
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
	client, err := settings{
		token: model.Token.ValueString(), endpoint: model.Endpoint.ValueString(),
		endpointHetzner: model.EndpointHetzner.ValueString(),
		pollInterval:    model.PollInterval.ValueString(), pollFunction: model.PollFunction.ValueString(),
	}.client()
	if err != nil {
		// The plugin SDK half reports the same error with this text as its summary; once is enough.
		return
	}
	response.ResourceData = client
}

func (*frameworkProvider) DataSources(context.Context) []func() datasource.DataSource { return nil }

func (*frameworkProvider) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{
		func() resource.Resource { return &sshKeyResource{} },
		func() resource.Resource { return &serverNetworkResource{} },
	}
}

// withClient is what the framework resources have in common.
type withClient struct{ client *hcloud.Client }

func (w *withClient) Configure(_ context.Context, request resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	if client, ok := request.ProviderData.(*hcloud.Client); ok {
		w.client = client
	}
}

// failed is the recorded form of an API error in a framework resource: fixed summary, the rest in the detail.
func failed(err error) diag.Diagnostic {
	var apiError hcloud.Error
	if !errors.As(err, &apiError) {
		return diag.NewErrorDiagnostic("API request failed", err.Error())
	}
	detail := fmt.Sprintf("An unexpected error was encountered during an API request.\n\n%s\n\nError code: %s\n", apiError.Error(), apiError.Code)
	if response := apiError.Response(); response != nil {
		detail += fmt.Sprintf("Status code: %d\n", response.StatusCode)
	}
	return diag.NewErrorDiagnostic("API request failed", detail)
}
