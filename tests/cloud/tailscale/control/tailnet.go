package main

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tailscale.com/net/tsaddr"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
	"tailscale.com/util/dnsname"
)

// taggedDevices is the user that owns every tagged node; operator owns the others.
const (
	operator      tailcfg.UserID = 1
	taggedDevices tailcfg.UserID = 2
)

// node is what the tailnet knows of one machine. wire is what its peers are told.
type node struct {
	wire  *tailcfg.Node
	given string
	// pinned: a person chose the name, so that the machine's host name no longer changes it.
	pinned    bool
	ephemeral bool
	keyID     string
	lastSeen  time.Time
	// keyExpires is kept while expiry is disabled; enabling it again brings it back.
	keyExpires        time.Time
	keyExpiryDisabled bool
	// warned: nodeKeyExpiringInOneDay was sent for keyExpires.
	warned        bool
	enabledRoutes []netip.Prefix
	session       *session
	deleted       bool
}

func (n *node) online() bool { return n.session != nil }

// cutOff: the node's key means nothing any more, and it must not hold any peer.
func (n *node) cutOff() bool { return n.deleted || n.wire.Expired }

// settings of the tailnet, which Tailscale's admin console has on its pages.
type settings struct {
	suffix string
	// approval: nodes that join by a key which is not pre-authorized wait for somebody to approve them.
	approval bool
	// keyLife is what a node key lives. Tailscale's default is 180 days.
	keyLife time.Duration
}

// tailnet is all state. Its methods may be called from any goroutine; those named …Locked need mu held.
type tailnet struct {
	settings
	derpMap *tailcfg.DERPMap
	faults  *faults

	mu      sync.Mutex
	offset  time.Duration
	nodes   map[tailcfg.NodeID]*node
	keys    map[string]*authKey
	keyIDs  map[string]string
	events  []event
	lastID  tailcfg.NodeID
	lastIP  netip.Addr
	version int64
	// changed is closed and replaced at every new version.
	changed chan struct{}
}

// newTailnet has no DERP map yet; nodes need one.
func newTailnet(s settings) *tailnet {
	t := &tailnet{
		settings: s,
		nodes:    map[tailcfg.NodeID]*node{},
		keys:     map[string]*authKey{},
		keyIDs:   map[string]string{},
		lastIP:   tsaddr.CGNATRange().Addr(),
		changed:  make(chan struct{}),
	}
	t.faults = newFaults(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.changedLocked()
	})
	return t
}

// changedLocked starts a new version: map sessions look again and waiting admin requests are answered.
func (t *tailnet) changedLocked() {
	t.version++
	close(t.changed)
	t.changed = make(chan struct{})
	for _, n := range t.nodes {
		if n.session != nil {
			n.session.poke()
		}
	}
}

func (t *tailnet) byNodeKeyLocked(k key.NodePublic) *node {
	for _, n := range t.nodes {
		if n.wire.Key == k {
			return n
		}
	}
	return nil
}

func (t *tailnet) byMachineLocked(k key.MachinePublic) *node {
	for _, n := range t.nodes {
		if n.wire.Machine == k {
			return n
		}
	}
	return nil
}

func (t *tailnet) byStableIDLocked(id string) *node {
	for _, n := range t.nodes {
		if string(n.wire.StableID) == id {
			return n
		}
	}
	return nil
}

// addNodeLocked gives a new node its ids and addresses. Ids and addresses are never given twice, so that a test
// which still holds those of a deleted node cannot reach another by mistake.
func (t *tailnet) addNodeLocked(machine key.MachinePublic) (*node, error) {
	for {
		t.lastIP = t.lastIP.Next()
		if !tsaddr.CGNATRange().Contains(t.lastIP) {
			return nil, fmt.Errorf("no address left in the tailnet")
		}
		if tsaddr.IsTailscaleIPv4(t.lastIP) && t.lastIP != tsaddr.TailscaleServiceIP() && !t.addressTakenLocked(t.lastIP) {
			break
		}
	}
	t.lastID++
	n := &node{
		wire: &tailcfg.Node{
			ID:       t.lastID,
			StableID: tailcfg.StableNodeID(fmt.Sprintf("n%08dCNTRL", t.lastID)),
			Machine:  machine,
			Addresses: []netip.Prefix{
				netip.PrefixFrom(t.lastIP, 32),
				netip.PrefixFrom(tsaddr.Tailscale4To6(t.lastIP), 128),
			},
			Created: t.nowLocked().UTC(),
		},
		lastSeen: t.nowLocked(),
	}
	t.nodes[t.lastID] = n
	return n, nil
}

func (t *tailnet) addressTakenLocked(address netip.Addr) bool {
	for _, n := range t.nodes {
		if slices.ContainsFunc(n.wire.Addresses, func(p netip.Prefix) bool { return p.Addr() == address }) {
			return true
		}
	}
	return false
}

// routeLocked tells peers what to send to n: its own addresses, and routes that it advertises and that are enabled.
func (n *node) routeLocked() {
	n.wire.AllowedIPs = slices.Clone(n.wire.Addresses)
	n.wire.PrimaryRoutes = nil
	if !n.wire.Hostinfo.Valid() {
		return
	}
	for _, route := range n.wire.Hostinfo.RoutableIPs().All() {
		if !slices.Contains(n.enabledRoutes, route) {
			continue
		}
		n.wire.AllowedIPs = append(n.wire.AllowedIPs, route)
		// An exit node's 0.0.0.0/0 is chosen by each peer, it is no primary route.
		if route.Bits() > 0 {
			n.wire.PrimaryRoutes = append(n.wire.PrimaryRoutes, route)
		}
	}
}

// nameLocked gives n the first free name after its host name: web, web-1, web-2 … With taken the host name itself
// counts as not free.
func (t *tailnet) nameLocked(n *node, hostname string, taken bool) {
	base := dnsname.SanitizeHostname(hostname)
	if base == "" {
		base = "node"
	}
	given := base
	for i := 1; taken || t.nameTakenLocked(given, n); i++ {
		given, taken = fmt.Sprintf("%s-%d", base, i), false
	}
	n.given = given
	n.wire.Name = given + "." + t.suffix + "."
}

func (t *tailnet) nameTakenLocked(given string, except *node) bool {
	for _, other := range t.nodes {
		if other != except && other.given == given {
			return true
		}
	}
	return false
}

// removeLocked cuts the node off: its session gets a last map that expires its key, its peers forget it, and its
// node key means nothing any more.
func (t *tailnet) removeLocked(n *node, actor string) {
	n.deleted = true
	delete(t.nodes, n.wire.ID)
	t.emitLocked("nodeDeleted", n, actor)
	if n.session != nil {
		n.session.poke()
	}
	t.changedLocked()
}
