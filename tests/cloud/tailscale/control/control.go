package main

import (
	"context"
	"encoding/json"
	"log"
	"net"
	"net/http"

	"golang.org/x/net/http2"
	"tailscale.com/control/controlhttp/controlhttpserver"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

// control speaks the control protocol with nodes: the key over plain HTTP, everything else in HTTP/2 inside a
// Noise connection whose handshake proves the machine key.
type control struct {
	tailnet *tailnet
	baseURL string
	noise   key.MachinePrivate
	// legacy is asked for by clients and used by none since 2022.
	legacy key.MachinePublic
}

func newControl(t *tailnet, baseURL string) *control {
	return &control{tailnet: t, baseURL: baseURL, noise: key.NewMachine(), legacy: key.NewControl().Public()}
}

func (c *control) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /key", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, &tailcfg.OverTLSPublicKeyResponse{LegacyPublicKey: c.legacy, PublicKey: c.noise.Public()})
	})
	mux.HandleFunc("POST /ts2021", c.serveNoise)
	mux.HandleFunc("GET /login/{id}", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "This tailnet has no people: join with an auth key.", http.StatusForbidden)
	})
	return c.tailnet.faults.disturbed(mux, hijacked)
}

type machineKey struct{}

func (c *control) serveNoise(w http.ResponseWriter, r *http.Request) {
	conn, err := controlhttpserver.AcceptHTTP(r.Context(), w, r, c.noise, nil)
	if err != nil {
		log.Printf("noise handshake with %s: %v", r.RemoteAddr, err)
		return
	}
	defer conn.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /machine/register", c.serveRegister)
	mux.HandleFunc("POST /machine/map", c.serveMap)
	mux.HandleFunc("POST /machine/update-health", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})
	disturbed := c.tailnet.faults.disturbed(mux, func(http.ResponseWriter) net.Conn { return conn })
	server := &http2.Server{}
	server.ServeConn(conn, &http2.ServeConnOpts{
		Context:    context.WithValue(r.Context(), machineKey{}, conn.Peer()),
		BaseConfig: &http.Server{Handler: disturbed},
	})
}

// readRequest decodes the body into value and gives the machine key that the Noise handshake proved; on failure it
// has answered.
func readRequest(w http.ResponseWriter, r *http.Request, value any) (key.MachinePublic, bool) {
	machine, ok := r.Context().Value(machineKey{}).(key.MachinePublic)
	if !ok {
		http.Error(w, "no machine key", http.StatusBadRequest)
		return machine, false
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(value); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return machine, false
	}
	return machine, true
}
