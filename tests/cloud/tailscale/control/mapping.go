package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/types/dnstype"
	"tailscale.com/util/zstdframe"
)

// keepAlive is below the two minutes after which a client gives a silent session up.
const keepAlive = 50 * time.Second

// session is one streaming map request: what its node was told last, so that only differences are sent.
type session struct {
	wake chan struct{}
	// replaced is closed when a newer session of the same node takes over.
	replaced chan struct{}
	self     string
	peers    map[tailcfg.NodeID]string
	first    bool
}

// poke makes the session look again. One waiting poke is enough: what is sent is computed when it is sent.
func (s *session) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// serveMap takes what a node says about itself and, when it asks for a stream, keeps telling it about the tailnet.
func (c *control) serveMap(w http.ResponseWriter, r *http.Request) {
	var request tailcfg.MapRequest
	machine, ok := readRequest(w, r, &request)
	if !ok {
		return
	}
	t := c.tailnet
	t.mu.Lock()
	n := t.byNodeKeyLocked(request.NodeKey)
	if n == nil || n.wire.Machine != machine || n.wire.Expired {
		t.mu.Unlock()
		http.Error(w, "node not found", http.StatusNotFound)
		return
	}
	if request.Stream {
		s := t.openLocked(n)
		t.mu.Unlock()
		defer t.closeSession(n, s)
		t.stream(r.Context(), &mapWriter{w: w, compress: request.Compress == "zstd"}, n, s)
		return
	}
	if !request.ReadOnly {
		t.updateLocked(n, &request)
	}
	var answer *tailcfg.MapResponse
	if !request.OmitPeers {
		answer = t.differencesLocked(n, &session{first: true, peers: map[tailcfg.NodeID]string{}})
	}
	t.mu.Unlock()
	if answer != nil {
		_ = (&mapWriter{w: w, compress: request.Compress == "zstd"}).send(answer)
	}
}

// updateLocked stores what changed at the node. Streaming requests carry none of it since client version 68.
func (t *tailnet) updateLocked(n *node, request *tailcfg.MapRequest) {
	n.wire.DiscoKey = request.DiscoKey
	n.wire.Endpoints = slices.DeleteFunc(slices.Clone(request.Endpoints), func(e netip.AddrPort) bool {
		return e.Addr().IsLinkLocalUnicast() || e.Addr().Zone() != ""
	})
	n.wire.Cap = request.Version
	if request.Hostinfo != nil {
		renamed := request.Hostinfo.Hostname != n.wire.Hostinfo.Hostname()
		n.wire.Hostinfo = request.Hostinfo.View()
		n.routeLocked()
		if renamed && !n.pinned {
			t.nameLocked(n, request.Hostinfo.Hostname, false)
		}
		if info := request.Hostinfo.NetInfo; info != nil && info.PreferredDERP != 0 {
			n.wire.HomeDERP = info.PreferredDERP
		}
	}
	t.changedLocked()
}

func (t *tailnet) openLocked(n *node) *session {
	if n.session != nil {
		close(n.session.replaced)
	}
	s := &session{
		wake:     make(chan struct{}, 1),
		replaced: make(chan struct{}),
		peers:    map[tailcfg.NodeID]string{},
		first:    true,
	}
	n.session = s
	t.changedLocked()
	return s
}

func (t *tailnet) closeSession(n *node, s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.session != s {
		return
	}
	n.session = nil
	n.lastSeen = t.nowLocked()
	t.changedLocked()
}

func (t *tailnet) stream(ctx context.Context, w *mapWriter, n *node, s *session) {
	timer := time.NewTicker(keepAlive)
	defer timer.Stop()
	for {
		t.mu.Lock()
		answer, last := t.differencesLocked(n, s), n.cutOff()
		t.mu.Unlock()
		if answer != nil && w.send(answer) != nil {
			return
		}
		if last {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-s.replaced:
			return
		case <-s.wake:
		case <-timer.C:
			if w.send(&tailcfg.MapResponse{KeepAlive: true}) != nil {
				return
			}
		}
	}
}

// differencesLocked is what n's session has not been told yet, or nil.
func (t *tailnet) differencesLocked(n *node, s *session) *tailcfg.MapResponse {
	answer := &tailcfg.MapResponse{}
	first := s.first
	news := first
	if first {
		t.greetingLocked(answer)
		s.first = false
	}
	self := n.wire.Clone()
	if n.cutOff() {
		// The client takes this as "log in again" and stops using its node key. It goes by its own clock, which the
		// tailnet's may be ahead of.
		self.Expired = true
		self.KeyExpiry = time.Now().Add(-time.Minute)
	}
	if text := fingerprint(self); text != s.self {
		s.self, answer.Node, news = text, self, true
	}
	for id := range s.peers {
		if peer := t.nodes[id]; peer == nil || !n.sees(peer) {
			delete(s.peers, id)
			answer.PeersRemoved = append(answer.PeersRemoved, id)
			news = true
		}
	}
	for id, peer := range t.nodes {
		if !n.sees(peer) {
			continue
		}
		wire := peer.shown()
		if text := fingerprint(wire); text != s.peers[id] {
			s.peers[id] = text
			answer.PeersChanged = append(answer.PeersChanged, wire)
			news = true
		}
	}
	// Clients take both lists in the order of node ids.
	slices.Sort(answer.PeersRemoved)
	slices.SortFunc(answer.PeersChanged, func(a, b *tailcfg.Node) int { return int(a.ID - b.ID) })
	if !news {
		return nil
	}
	if first {
		answer.Peers, answer.PeersChanged = answer.PeersChanged, nil
	}
	return answer
}

// sees: a node has peers when it is approved and logged in, and approved nodes are its peers.
func (n *node) sees(peer *node) bool {
	return peer != n && !n.cutOff() && n.wire.MachineAuthorized && peer.wire.MachineAuthorized
}

// shown is the node as its peers are told of it; where an expired one is they are not.
func (n *node) shown() *tailcfg.Node {
	wire := n.wire.Clone()
	online := n.online()
	wire.Online = &online
	if wire.Expired {
		wire.Endpoints, wire.HomeDERP = nil, 0
	}
	return wire
}

// greetingLocked fills in what only the first answer of a session carries.
func (t *tailnet) greetingLocked(answer *tailcfg.MapResponse) {
	now := t.nowLocked().UTC()
	answer.ControlTime = &now
	answer.Domain = t.suffix
	answer.DERPMap = t.derpMap
	answer.CollectServices = "false"
	answer.UserProfiles = []tailcfg.UserProfile{profileOf(operator), profileOf(taggedDevices)}
	answer.DNSConfig = &tailcfg.DNSConfig{
		Proxied: true,
		Domains: []string{t.suffix},
		Routes:  map[string][]*dnstype.Resolver{strings.TrimSuffix(t.suffix, "."): nil},
	}
	// The policy: everybody reaches everybody, as in a tailnet whose policy nobody changed.
	answer.PacketFilters = map[string][]tailcfg.FilterRule{"base": tailcfg.FilterAllowAll}
}

// fingerprint is the node's JSON: equal text, equal news.
func fingerprint(n *tailcfg.Node) string {
	text, err := json.Marshal(n)
	if err != nil {
		panic(err) // a tailcfg.Node always marshals
	}
	return string(text)
}

// mapWriter frames map responses: length in four bytes, then JSON, compressed when the client asked for it.
type mapWriter struct {
	w        http.ResponseWriter
	compress bool
}

func (m *mapWriter) send(response *tailcfg.MapResponse) error {
	body, err := json.Marshal(response)
	if err != nil {
		return err
	}
	if m.compress {
		body = zstdframe.AppendEncode(nil, body, zstdframe.FastestCompression)
	}
	frame := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	if _, err := m.w.Write(append(frame, body...)); err != nil {
		return err
	}
	return http.NewResponseController(m.w).Flush()
}
