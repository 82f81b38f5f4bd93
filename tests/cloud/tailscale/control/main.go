// Command control is a Tailscale control server for one tailnet in memory, made of Tailscale's own packages
// (Noise transport, wire types, DERP and STUN servers), so that an unmodified tailscaled joins it by
// `--login-server=<controlUrl>` and nothing else.
//
// It prints one JSON line when it listens and ends when its standard input closes, so that it cannot outlive
// the program that started it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
	listen := flag.String("listen", "127.0.0.1:0", "address for nodes: control protocol; DERP and STUN take free ports of the same IP")
	adminListen := flag.String("admin", "127.0.0.1:0", "loopback address of the admin API")
	var s settings
	flag.StringVar(&s.suffix, "domain", "clawpool.ts.net", "MagicDNS suffix of the tailnet")
	flag.BoolVar(&s.approval, "approval", false, "nodes that join by a key which is not pre-authorized wait for approval")
	flag.DurationVar(&s.keyLife, "key-life", 180*oneDay, "life of a node key")
	flag.Parse()
	if err := run(*listen, *adminListen, s); err != nil {
		log.Fatal(err)
	}
}

// ready is the one line on standard output.
type ready struct {
	ControlURL string `json:"controlUrl"`
	AdminURL   string `json:"adminUrl"`
	DERPPort   int    `json:"derpPort"`
	STUNPort   int    `json:"stunPort"`
}

func run(listen, adminListen string, s settings) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	nodeListener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	adminListener, err := net.Listen("tcp", adminListen)
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	if !adminListener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		return fmt.Errorf("admin: %s is not a loopback address; whoever reaches it mints keys", adminListen)
	}
	address := nodeListener.Addr().(*net.TCPAddr)
	tailnet := newTailnet(s)
	relay, err := startRelay(ctx, address.IP, tailnet.faults)
	if err != nil {
		return fmt.Errorf("derp: %w", err)
	}
	tailnet.derpMap = relay.derpMap
	control := newControl(tailnet, "http://"+address.String())
	nodes := newGate(nodeListener, func() { tailnet.faults.hit("control") })
	tailnet.faults.guard("control", nodes)
	go tailnet.watchClock(ctx.Done())

	failed := make(chan error, 2)
	go func() { failed <- http.Serve(nodes, control.handler()) }()
	go func() { failed <- http.Serve(adminListener, adminHandler(tailnet)) }()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	line, err := json.Marshal(ready{
		ControlURL: control.baseURL,
		AdminURL:   "http://" + adminListener.Addr().String(),
		DERPPort:   relay.derpPort,
		STUNPort:   relay.stunPort,
	})
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}
