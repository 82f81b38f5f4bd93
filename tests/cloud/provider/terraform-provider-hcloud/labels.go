package main

import (
	"github.com/hashicorp/go-cty/cty"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

func labelsValid(value any, _ cty.Path) diag.Diagnostics {
	if _, err := hcloud.ValidateResourceLabels(value.(map[string]any)); err != nil {
		return diag.FromErr(err)
	}
	return nil
}
