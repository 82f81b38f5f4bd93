package main

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// The attributes that a data source only tells.
func tellsText() schema.StringAttribute     { return schema.StringAttribute{Computed: true} }
func tellsNumber() schema.Int64Attribute    { return schema.Int64Attribute{Computed: true} }
func tellsShort() schema.Int32Attribute     { return schema.Int32Attribute{Computed: true} }
func tellsDecimal() schema.Float64Attribute { return schema.Float64Attribute{Computed: true} }
func tellsFlag() schema.BoolAttribute       { return schema.BoolAttribute{Computed: true} }
func tellsLabels() schema.MapAttribute {
	return schema.MapAttribute{Computed: true, ElementType: types.StringType}
}

// The attributes that it is asked by; they are told too.
func asksText() schema.StringAttribute  { return schema.StringAttribute{Optional: true} }
func asksNumber() schema.Int64Attribute { return schema.Int64Attribute{Optional: true} }
func asksFlag() schema.BoolAttribute    { return schema.BoolAttribute{Optional: true} }

// withSelectors adds with_selector and its older name.
func withSelectors(attributes map[string]schema.Attribute) map[string]schema.Attribute {
	attributes["with_selector"] = asksText()
	attributes["selector"] = schema.StringAttribute{Optional: true, DeprecationMessage: "Please use the with_selector property instead."}
	return attributes
}

// notFound is what a lookup by id or name says.
func notFound(kind, key string, value any) diag.Diagnostics {
	return oneError("Resource not found", fmt.Sprintf("Resource (%s) was not found: %s=%v", kind, key, value))
}

// only is the one entry that a list should have. `using` says what it was looked for by, `query` how.
func only[Entry any](entries []*Entry, kind, using string, query url.Values) (*Entry, diag.Diagnostics) {
	if len(entries) > 1 {
		return nil, oneError("Found more than one resource",
			fmt.Sprintf("Found more than one resource (%s) using %s\n%s", kind, using, parametersOf(query)))
	}
	return first(entries, kind, using, query)
}

// first is for a list that comes in the wanted order.
func first[Entry any](entries []*Entry, kind, using string, query url.Values) (*Entry, diag.Diagnostics) {
	if len(entries) == 0 {
		return nil, oneError("Resource not found",
			fmt.Sprintf("Resource (%s) was not found using %s\n%s", kind, using, parametersOf(query)))
	}
	return entries[0], nil
}

func parametersOf(query url.Values) string {
	var parameters []string
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if values := query[name]; len(values) == 1 {
			parameters = append(parameters, name+"="+values[0])
		} else {
			parameters = append(parameters, fmt.Sprintf("%s=%v", name, values))
		}
	}
	return "\nQuery parameters: " + strings.Join(parameters, " ")
}
