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
		UpdateContext: updatePlacementGroup, DeleteContext: deletePlacementGroup,
		Importer: &schema.ResourceImporter{StateContext: schema.ImportStatePassthroughContext},
		Schema: map[string]*schema.Schema{
			"name": {Type: schema.TypeString, Required: true},
			// No ForceNew in the real one either: there is only one type.
			"type": {Type: schema.TypeString, Required: true,
				ValidateDiagFunc: oneOfTexts("placement group type", string(hcloud.PlacementGroupTypeSpread))},
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
	id, ok := numericID(d)
	if !ok {
		return nil
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

func updatePlacementGroup(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	id, ok := numericID(d)
	if !ok {
		return nil
	}
	group, _, err := client.PlacementGroup.GetByID(ctx, id)
	if err != nil {
		return failure(err)
	}
	if group == nil {
		d.SetId("")
		return nil
	}
	update := func(options hcloud.PlacementGroupUpdateOpts) error {
		_, _, err := client.PlacementGroup.Update(ctx, group, options)
		return err
	}
	problem, done := takeSteps(d,
		step{d.HasChange("name"), true, func() error {
			return update(hcloud.PlacementGroupUpdateOpts{Name: d.Get("name").(string)})
		}},
		step{d.HasChange("labels"), true, func() error {
			return update(hcloud.PlacementGroupUpdateOpts{Labels: changedLabels(d)})
		}},
	)
	if !done {
		return problem
	}
	return readPlacementGroup(ctx, d, meta)
}

// A 404 is an error here, as it is for servers.
func deletePlacementGroup(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	id, ok := numericID(d)
	if !ok {
		return nil
	}
	_, err := meta.(*hcloud.Client).PlacementGroup.Delete(ctx, &hcloud.PlacementGroup{ID: id})
	return failure(err)
}
