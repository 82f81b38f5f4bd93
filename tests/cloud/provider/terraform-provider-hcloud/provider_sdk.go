package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/hashicorp/go-cty/cty"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/validation"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

func newSDKProvider() *schema.Provider {
	fromEnvironment := func(variable string) *schema.Schema {
		return &schema.Schema{Type: schema.TypeString, Optional: true, DefaultFunc: schema.EnvDefaultFunc(variable, nil)}
	}
	token := fromEnvironment("HCLOUD_TOKEN")
	token.Sensitive = true
	token.ValidateFunc = func(value any, _ string) ([]string, []error) {
		if len(value.(string)) == tokenLength {
			return nil, nil
		}
		return nil, []error{errors.New("entered token is invalid (must be exactly 64 characters long)")}
	}
	return &schema.Provider{
		Schema: map[string]*schema.Schema{
			"token":            token,
			"endpoint":         fromEnvironment("HCLOUD_ENDPOINT"),
			"endpoint_hetzner": fromEnvironment("HETZNER_ENDPOINT"),
			"poll_interval":    {Type: schema.TypeString, Optional: true, Default: "500ms"},
			"poll_function": {Type: schema.TypeString, Optional: true, Default: "exponential",
				ValidateFunc: validation.StringInSlice(pollFunctions, false)},
		},
		ResourcesMap: map[string]*schema.Resource{
			"hcloud_firewall":            firewallResource(),
			"hcloud_firewall_attachment": firewallAttachmentResource(),
			"hcloud_network":             networkResource(),
			"hcloud_network_subnet":      networkSubnetResource(),
			"hcloud_placement_group":     placementGroupResource(),
			"hcloud_server":              serverResource(),
			"hcloud_snapshot":            snapshotResource(),
			"hcloud_volume":              volumeResource(),
		},
		DataSourcesMap: map[string]*schema.Resource{
			"hcloud_server": serverDataSource(),
		},
		ConfigureContextFunc: func(_ context.Context, d *schema.ResourceData) (any, diag.Diagnostics) {
			text := func(name string) string { return d.Get(name).(string) }
			interval, err := time.ParseDuration(text("poll_interval"))
			if err != nil {
				return nil, diag.FromErr(err)
			}
			return settings{
				token: text("token"), endpoint: text("endpoint"), endpointHetzner: text("endpoint_hetzner"),
				poll: polling(text("poll_function"), interval),
			}.client(), nil
		},
	}
}

// oneOfTexts is a check whose error is worded as the real provider's: "<value> is not a valid <kind>".
func oneOfTexts(kind string, texts ...string) schema.SchemaValidateDiagFunc {
	return func(value any, _ cty.Path) diag.Diagnostics {
		for _, text := range texts {
			if text == value {
				return nil
			}
		}
		return diag.Errorf("%s is not a valid %s", value, kind)
	}
}

// numericID of an SDK resource; their ids are decimal strings. With any other the resource is taken out of the state,
// and the second value is false.
func numericID(d *schema.ResourceData) (int64, bool) {
	id, err := strconv.ParseInt(d.Id(), 10, 64)
	if err != nil {
		d.SetId("")
	}
	return id, err == nil
}

func formatID(id int64) string { return strconv.FormatInt(id, 10) }

// setAll writes attributes into the state; the SDK reports a wrong name or type here.
func setAll(d *schema.ResourceData, values map[string]any) diag.Diagnostics {
	for name, value := range values {
		if err := d.Set(name, value); err != nil {
			return diag.FromErr(err)
		}
	}
	return nil
}

// numberOf reads an optional whole number; 0 is "not given".
func numberOf(d *schema.ResourceData, name string) int64 { return int64(d.Get(name).(int)) }

// step is one request, or a few that belong together, of an update in place.
type step struct {
	// due is whether the plan changes what this step is for.
	due bool
	// mayBeGone is whether a 404 takes the resource out of the state; elsewhere it is an error.
	mayBeGone bool
	take      func() error
}

// takeSteps carries out what is due, in order; the second value is false when the update ends there. What was not
// reached must not be in the state as if it were.
func takeSteps(d *schema.ResourceData, steps ...step) (diag.Diagnostics, bool) {
	d.Partial(true)
	for _, step := range steps {
		if !step.due {
			continue
		}
		err := step.take()
		if step.mayBeGone && hcloud.IsError(err, hcloud.ErrorCodeNotFound) {
			d.SetId("")
			return nil, false
		}
		if err != nil {
			return failure(err), false
		}
	}
	d.Partial(false)
	return nil, true
}
