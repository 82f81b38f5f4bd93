// The stand-in for hetznercloud/hcloud 1.68.0 that the local cloud puts into a filesystem mirror, because the
// registry that has the real one is not reachable everywhere. Schema and calls are held to recordings of the real
// provider by the tests beside this folder. As in the real one, the older resources are written with the plugin SDK
// and the newer ones with the plugin framework: the two differ in what terraform sees (error text, empty values).
package main

import (
	"context"
	"flag"
	"log"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
	"github.com/hashicorp/terraform-plugin-mux/tf5to6server"
	"github.com/hashicorp/terraform-plugin-mux/tf6muxserver"
)

const (
	address = "registry.terraform.io/hetznercloud/hcloud"
	version = "1.68.0"
)

func main() {
	debug := flag.Bool("debug", false, "wait for a debugger: print the reattach settings and serve")
	flag.Parse()
	ctx := context.Background()

	upgraded, err := tf5to6server.UpgradeServer(ctx, newSDKProvider().GRPCProvider)
	if err != nil {
		log.Fatal(err)
	}
	// In this order: the second is not configured when the first refuses the configuration, and only one is heard.
	muxed, err := tf6muxserver.NewMuxServer(ctx,
		providerserver.NewProtocol6(&frameworkProvider{}),
		func() tfprotov6.ProviderServer { return upgraded },
	)
	if err != nil {
		log.Fatal(err)
	}
	var options []tf6server.ServeOpt
	if *debug {
		options = append(options, tf6server.WithManagedDebug())
	}
	if err := tf6server.Serve(address, muxed.ProviderServer, options...); err != nil {
		log.Fatal(err)
	}
}
