// Command goclient lets a test drive Tailscale's own Go client: each line on standard input is one call, each line on
// standard output its result or its error.
//
//	{"op":"devices.list","args":{"filters":{"tags":["tag:x"]},"all":true}}
//	{"result":[…]}  |  {"error":"…","status":403}
//
// Where the API is and as whom to call it is in the environment: TAILSCALE_URL, TAILSCALE_CLIENT_ID and
// TAILSCALE_CLIENT_SECRET.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/url"
	"os"

	"tailscale.com/client/tailscale/v2"
)

type request struct {
	Op   string    `json:"op"`
	Args arguments `json:"args"`
}

// arguments of all operations; each takes what it needs.
type arguments struct {
	ID            string                              `json:"id"`
	Name          string                              `json:"name"`
	IPv4          string                              `json:"ipv4"`
	All           bool                                `json:"all"`
	On            bool                                `json:"on"`
	Tags          []string                            `json:"tags"`
	Scopes        []string                            `json:"scopes"`
	Routes        []string                            `json:"routes"`
	Filters       map[string][]string                 `json:"filters"`
	Key           tailscale.CreateKeyRequest          `json:"key"`
	Webhook       tailscale.CreateWebhookRequest      `json:"webhook"`
	Subscriptions []tailscale.WebhookSubscriptionType `json:"subscriptions"`
}

type response struct {
	Result any    `json:"result,omitempty"`
	Error  string `json:"error,omitempty"`
	Status int    `json:"status,omitempty"`
}

func main() {
	base, err := url.Parse(os.Getenv("TAILSCALE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	client := &tailscale.Client{
		BaseURL: base,
		Auth: &tailscale.OAuth{
			ClientID:     os.Getenv("TAILSCALE_CLIENT_ID"),
			ClientSecret: os.Getenv("TAILSCALE_CLIENT_SECRET"),
		},
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var r request
		if err := in.Decode(&r); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		result, err := call(context.Background(), client, r.Op, r.Args)
		answer := response{Result: result}
		if err != nil {
			answer = response{Error: err.Error()}
			var failure tailscale.APIError
			if errors.As(err, &failure) {
				answer.Error, answer.Status = failure.Message, failure.Status
			}
		}
		if err := out.Encode(answer); err != nil {
			log.Fatal(err)
		}
	}
}

func call(ctx context.Context, c *tailscale.Client, op string, a arguments) (any, error) {
	devices, keys, webhooks := c.Devices(), c.Keys(), c.Webhooks()
	switch op {
	case "devices.list":
		options := []tailscale.ListDevicesOptions{}
		if a.All {
			options = append(options, tailscale.WithFields(tailscale.IncludeFieldsAll))
		}
		for field, values := range a.Filters {
			options = append(options, tailscale.WithFilter(field, values))
		}
		return devices.List(ctx, options...)
	case "devices.get":
		if a.All {
			return devices.GetWithAllFields(ctx, a.ID)
		}
		return devices.Get(ctx, a.ID)
	case "devices.delete":
		return nil, devices.Delete(ctx, a.ID)
	case "devices.authorize":
		return nil, devices.SetAuthorized(ctx, a.ID, a.On)
	case "devices.name":
		return nil, devices.SetName(ctx, a.ID, a.Name)
	case "devices.tags":
		return nil, devices.SetTags(ctx, a.ID, a.Tags)
	case "devices.key":
		return nil, devices.SetKey(ctx, a.ID, tailscale.DeviceKey{KeyExpiryDisabled: a.On})
	case "devices.ip":
		return nil, devices.SetIPv4Address(ctx, a.ID, a.IPv4)
	case "devices.routes":
		return devices.SubnetRoutes(ctx, a.ID)
	case "devices.enable-routes":
		return nil, devices.SetSubnetRoutes(ctx, a.ID, a.Routes)
	case "keys.create":
		return keys.CreateAuthKey(ctx, a.Key)
	case "keys.create-client":
		return keys.CreateOAuthClient(ctx, tailscale.CreateOAuthClientRequest{Scopes: a.Scopes, Tags: a.Tags, Description: a.Name})
	case "keys.set-client":
		return keys.SetOAuthClient(ctx, a.ID, tailscale.SetOAuthClientRequest{Scopes: a.Scopes, Tags: a.Tags, Description: a.Name})
	case "keys.get":
		return keys.Get(ctx, a.ID)
	case "keys.list":
		return keys.List(ctx, a.All)
	case "keys.delete":
		return nil, keys.Delete(ctx, a.ID)
	case "webhooks.create":
		return webhooks.Create(ctx, a.Webhook)
	case "webhooks.list":
		return webhooks.List(ctx)
	case "webhooks.get":
		return webhooks.Get(ctx, a.ID)
	case "webhooks.update":
		return webhooks.Update(ctx, a.ID, a.Subscriptions)
	case "webhooks.test":
		return nil, webhooks.Test(ctx, a.ID)
	case "webhooks.rotate":
		return webhooks.RotateSecret(ctx, a.ID)
	case "webhooks.delete":
		return nil, webhooks.Delete(ctx, a.ID)
	}
	return nil, fmt.Errorf("no operation %q", op)
}
