package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

// failure is the recorded form of an API error in a plugin SDK resource: all in the summary, and for invalid input
// the fields with what is wrong with each. nil for nil.
func failure(err error) diag.Diagnostics {
	var apiError hcloud.Error
	if !errors.As(err, &apiError) {
		return diag.FromErr(err)
	}
	details, ok := apiError.Details.(hcloud.ErrorDetailsInvalidInput)
	if !ok {
		return diag.FromErr(err)
	}
	var fields []string
	for _, field := range details.Fields {
		fields = append(fields, fmt.Sprintf("%s => [%s]", field.Name, strings.Join(field.Messages, ", ")))
	}
	return diag.Errorf("%s: [%s]", apiError.Error(), strings.Join(fields, "; "))
}
