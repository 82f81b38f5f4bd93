package main

import (
	"context"
	"time"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

func snapshotResource() *schema.Resource {
	return &schema.Resource{
		CreateContext: createSnapshot, ReadContext: readSnapshot, UpdateContext: updateSnapshot, DeleteContext: deleteSnapshot,
		Importer: &schema.ResourceImporter{StateContext: schema.ImportStatePassthroughContext},
		Timeouts: &schema.ResourceTimeout{Create: schema.DefaultTimeout(90 * time.Minute)},
		Schema: map[string]*schema.Schema{
			"description": {Type: schema.TypeString, Optional: true},
			"server_id":   {Type: schema.TypeInt, Required: true, ForceNew: true},
			// Of all labels in the SDK's half the only ones that are not checked before they are sent.
			"labels": {Type: schema.TypeMap, Optional: true},
		},
	}
}

func createSnapshot(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	description := d.Get("description").(string)
	result, _, err := client.Server.CreateImage(ctx, &hcloud.Server{ID: numberOf(d, "server_id")}, &hcloud.ServerCreateImageOpts{
		Type: hcloud.ImageTypeSnapshot, Description: &description, Labels: labelsOf(d),
	})
	if err != nil {
		return failure(err)
	}
	d.SetId(formatID(result.Image.ID))
	if err := waitFor(ctx, client, result.Action); err != nil {
		return failure(err)
	}
	return readSnapshot(ctx, d, meta)
}

func readSnapshot(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	id, ok := numericID(d)
	if !ok {
		return nil
	}
	image, _, err := meta.(*hcloud.Client).Image.GetByID(ctx, id)
	if err != nil {
		return failure(err)
	}
	if image == nil || image.Type != hcloud.ImageTypeSnapshot {
		d.SetId("")
		return nil
	}
	values := map[string]any{"description": image.Description, "labels": image.Labels}
	if image.CreatedFrom != nil {
		values["server_id"] = int(image.CreatedFrom.ID)
	}
	return setAll(d, values)
}

func updateSnapshot(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	id, ok := numericID(d)
	if !ok {
		return nil
	}
	update := func(options hcloud.ImageUpdateOpts) error {
		_, _, err := client.Image.Update(ctx, &hcloud.Image{ID: id}, options)
		return err
	}
	problem, done := takeSteps(d,
		step{d.HasChange("description"), true, func() error {
			description := d.Get("description").(string)
			return update(hcloud.ImageUpdateOpts{Description: &description})
		}},
		step{d.HasChange("labels"), true, func() error {
			return update(hcloud.ImageUpdateOpts{Labels: changedLabels(d)})
		}},
	)
	if !done {
		return problem
	}
	return readSnapshot(ctx, d, meta)
}

func deleteSnapshot(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	id, ok := numericID(d)
	if !ok {
		return nil
	}
	_, err := meta.(*hcloud.Client).Image.Delete(ctx, &hcloud.Image{ID: id})
	if hcloud.IsError(err, hcloud.ErrorCodeNotFound) {
		return nil
	}
	return failure(err)
}
