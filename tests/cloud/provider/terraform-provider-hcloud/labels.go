package main

import (
	"context"

	"github.com/hashicorp/go-cty/cty"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	frameworkschema "github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/mapdefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

// labelsSchema of a plugin SDK resource. No labels are none in its requests too.
func labelsSchema(computed bool) *schema.Schema {
	return &schema.Schema{
		Type: schema.TypeMap, Optional: true, Computed: computed,
		ValidateDiagFunc: func(value any, _ cty.Path) diag.Diagnostics {
			_, err := hcloud.ValidateResourceLabels(value.(map[string]any))
			return diag.FromErr(err)
		},
	}
}

// labelsOf reads the labels of the configuration; nil when there are none, so that the request has no labels either.
func labelsOf(d *schema.ResourceData) map[string]string {
	if _, ok := d.GetOk("labels"); !ok {
		return nil
	}
	return changedLabels(d)
}

// changedLabels is the whole new map for a PUT: an empty one when all were removed.
func changedLabels(d *schema.ResourceData) map[string]string {
	labels := map[string]string{}
	for key, text := range d.Get("labels").(map[string]any) {
		labels[key] = text.(string)
	}
	return labels
}

// frameworkLabels is the schema of labels in a framework resource. No labels are the empty map there, in state and
// requests.
func frameworkLabels() frameworkschema.MapAttribute {
	return frameworkschema.MapAttribute{
		ElementType: types.StringType, Optional: true, Computed: true,
		Default:    mapdefault.StaticValue(types.MapValueMust(types.StringType, map[string]attr.Value{})),
		Validators: []validator.Map{labelsValidator{}},
	}
}

type labelsValidator struct{}

func (labelsValidator) Description(context.Context) string {
	return "labels must have the form that Hetzner's API describes"
}

func (v labelsValidator) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (labelsValidator) ValidateMap(_ context.Context, request validator.MapRequest, response *validator.MapResponse) {
	for key, value := range request.ConfigValue.Elements() {
		text, ok := value.(types.String)
		if !ok || text.IsUnknown() {
			continue
		}
		if _, err := hcloud.ValidateResourceLabels(map[string]any{key: text.ValueString()}); err != nil {
			response.Diagnostics.AddAttributeError(request.Path.AtMapKey(key), "Invalid label", err.Error())
		}
	}
}

// labelTexts reads the labels of a framework resource.
func labelTexts(ctx context.Context, labels types.Map) map[string]string {
	texts := map[string]string{}
	labels.ElementsAs(ctx, &texts, true)
	return texts
}

func labelValues(ctx context.Context, labels map[string]string) types.Map {
	values, _ := types.MapValueFrom(ctx, types.StringType, labels)
	return values
}
