package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"time"

	"tailscale.com/derp/derpserver"
	"tailscale.com/net/stunserver"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

// regionID lies in 900-999, which Tailscale leaves to operators of their own relays.
const (
	regionID   = 900
	regionName = "local cloud"
)

type relay struct {
	derpMap  *tailcfg.DERPMap
	derpPort int
	stunPort int
}

// startRelay serves DERP and STUN on free ports of ip until ctx ends.
//
// A client leaves state Starting when it has chosen a home relay, whether that answers or not (its count of relays is
// one of entries, wgengine/magicsock/derp.go); without one there is no way between nodes that do not see each other.
// Clients speak TLS to it. The certificate is made here and pinned in the DERP map by its hash
// (tailcfg.DERPNode.CertName, "sha256-raw:"), so nodes need neither a CA nor TS_DEBUG_USE_DERP_HTTP in their
// environment. A fault shuts DERP only: STUN goes on answering, so that nodes keep choosing this region as their home.
func startRelay(ctx context.Context, ip net.IP, f *faults) (*relay, error) {
	certificate, fingerprint, err := selfSigned(ip)
	if err != nil {
		return nil, err
	}
	quiet := func(string, ...any) {}
	server := derpserver.New(key.NewNode(), quiet)
	plain, err := net.Listen("tcp", net.JoinHostPort(ip.String(), "0"))
	if err != nil {
		return nil, err
	}
	listener := newGate(plain, func() { f.hit("relay") })
	f.guard("relay", listener)
	// DERP takes the connection over from HTTP/1.1; with HTTP/2 it could not.
	tlsListener := tls.NewListener(listener, &tls.Config{
		Certificates: []tls.Certificate{certificate},
		NextProtos:   []string{"http/1.1"},
	})
	mux := http.NewServeMux()
	mux.Handle("/derp", derpserver.Handler(server))
	mux.HandleFunc("/derp/probe", derpserver.ProbeHandler)
	mux.HandleFunc("/derp/latency-check", derpserver.ProbeHandler)
	mux.HandleFunc("/generate_204", derpserver.ServeNoContent)
	go func() {
		if err := http.Serve(tlsListener, mux); err != nil && ctx.Err() == nil {
			log.Fatalf("derp: %v", err)
		}
	}()
	stun := stunserver.New(ctx)
	if err := stun.Listen(net.JoinHostPort(ip.String(), "0")); err != nil {
		return nil, fmt.Errorf("stun: %w", err)
	}
	go func() {
		if err := stun.Serve(); err != nil && ctx.Err() == nil {
			log.Fatalf("stun: %v", err)
		}
	}()
	derpPort := listener.Addr().(*net.TCPAddr).Port
	_, port, err := net.SplitHostPort(stun.LocalAddr().String())
	if err != nil {
		return nil, err
	}
	stunPort, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	return &relay{derpMap: derpMap(ip.String(), derpPort, stunPort, fingerprint), derpPort: derpPort, stunPort: stunPort}, nil
}

func derpMap(ip string, derpPort, stunPort int, fingerprint string) *tailcfg.DERPMap {
	return &tailcfg.DERPMap{
		OmitDefaultRegions: true,
		Regions: map[int]*tailcfg.DERPRegion{regionID: {
			RegionID:   regionID,
			RegionCode: "local",
			RegionName: regionName,
			Nodes: []*tailcfg.DERPNode{{
				Name:       "local",
				RegionID:   regionID,
				HostName:   ip,
				IPv4:       ip,
				IPv6:       "none",
				STUNPort:   stunPort,
				STUNTestIP: ip,
				DERPPort:   derpPort,
				CertName:   "sha256-raw:" + fingerprint,
			}},
		}},
	}
}

// selfSigned makes a certificate for ip that lives as long as a long test session, and its SHA-256 in hex.
func selfSigned(ip net.IP) (tls.Certificate, string, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: ip.String()},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(30 * 24 * time.Hour),
		IPAddresses:  []net.IP{ip},
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, fmt.Sprintf("%x", sha256.Sum256(der)), nil
}
