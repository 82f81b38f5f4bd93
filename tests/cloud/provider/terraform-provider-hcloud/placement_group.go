package main

import (
	"context"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

func placementGroupResource() *schema.Resource {
	return &schema.Resource{
		CreateContext: createPlacementGroup, ReadContext: readPlacementGroup,
		UpdateContext: updatePlacementGroupResource, DeleteContext: deletePlacementGroup,
		Importer: &schema.ResourceImporter{StateContext: schema.ImportStatePassthroughContext},
		Schema: map[string]*schema.Schema{
			"name":    {Type: schema.TypeString, Required: true},
			"type":    {Type: schema.TypeString, Required: true},
			"labels":  labelsSchema(false),
			"servers": {Type: schema.TypeSet, Computed: true, Elem: &schema.Schema{Type: schema.TypeInt}},
		},
	}
}

func createPlacementGroup(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	result, _, err := client.PlacementGroup.Create(ctx, hcloud.PlacementGroupCreateOpts{
		Name: d.Get("name").(string), Type: hcloud.PlacementGroupType(d.Get("type").(string)), Labels: labelsOf(d),
	})
	if err != nil {
		return failure(err)
	}
	d.SetId(formatID(result.PlacementGroup.ID))
	if err := waitFor(ctx, client, result.Action); err != nil {
		return failure(err)
	}
	return readPlacementGroup(ctx, d, meta)
}

func readPlacementGroup(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	id, problem := numericID(d)
	if problem != nil {
		return problem
	}
	group, _, err := meta.(*hcloud.Client).PlacementGroup.GetByID(ctx, id)
	if err != nil {
		return failure(err)
	}
	if group == nil {
		d.SetId("")
		return nil
	}
	servers := []int{}
	for _, server := range group.Servers {
		servers = append(servers, int(server))
	}
	return setAll(d, map[string]any{
		"name": group.Name, "type": string(group.Type), "labels": group.Labels, "servers": servers,
	})
}

func updatePlacementGroupResource(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	id, problem := numericID(d)
	if problem != nil {
		return problem
	}
	if d.HasChange("type") {
		return diag.Errorf("the type of a placement group cannot be changed")
	}
	var updates []hcloud.PlacementGroupUpdateOpts
	if d.HasChange("name") {
		updates = append(updates, hcloud.PlacementGroupUpdateOpts{Name: d.Get("name").(string)})
	}
	if d.HasChange("labels") {
		updates = append(updates, hcloud.PlacementGroupUpdateOpts{Labels: changedLabels(d)})
	}
	for _, update := range updates {
		if _, _, err := client.PlacementGroup.Update(ctx, &hcloud.PlacementGroup{ID: id}, update); err != nil {
			return failure(err)
		}
	}
	return readPlacementGroup(ctx, d, meta)
}

// A 404 is an error here, as it is for servers.
func deletePlacementGroup(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	id, problem := numericID(d)
	if problem != nil {
		return problem
	}
	_, err := meta.(*hcloud.Client).PlacementGroup.Delete(ctx, &hcloud.PlacementGroup{ID: id})
	return failure(err)
}
