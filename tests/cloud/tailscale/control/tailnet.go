package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
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
	wire      *tailcfg.Node
	given     string
	ephemeral bool
	keyID     string
	lastSeen  time.Time
	session   *session
	deleted   bool
}

func (n *node) online() bool { return n.session != nil }

// tailnet is all state. Its methods may be called from any goroutine; those named …Locked need mu held.
type tailnet struct {
	suffix  string
	derpMap *tailcfg.DERPMap

	mu      sync.Mutex
	nodes   map[tailcfg.NodeID]*node
	keys    map[string]*authKey
	keyIDs  map[string]string
	lastID  tailcfg.NodeID
	lastIP  netip.Addr
	version int64
	// changed is closed and replaced at every new version.
	changed chan struct{}
}

func newTailnet(suffix string, derpMap *tailcfg.DERPMap) *tailnet {
	return &tailnet{
		suffix:  suffix,
		derpMap: derpMap,
		nodes:   map[tailcfg.NodeID]*node{},
		keys:    map[string]*authKey{},
		keyIDs:  map[string]string{},
		lastIP:  tsaddr.CGNATRange().Addr(),
		changed: make(chan struct{}),
	}
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

// addNodeLocked gives a new node its ids and addresses. Ids and addresses are never given twice, so that a test
// which still holds those of a deleted node cannot reach another by mistake.
func (t *tailnet) addNodeLocked(machine key.MachinePublic) (*node, error) {
	for {
		t.lastIP = t.lastIP.Next()
		if !tsaddr.CGNATRange().Contains(t.lastIP) {
			return nil, fmt.Errorf("no address left in the tailnet")
		}
		if tsaddr.IsTailscaleIPv4(t.lastIP) && t.lastIP != tsaddr.TailscaleServiceIP() {
			break
		}
	}
	t.lastID++
	addresses := []netip.Prefix{
		netip.PrefixFrom(t.lastIP, 32),
		netip.PrefixFrom(tsaddr.Tailscale4To6(t.lastIP), 128),
	}
	n := &node{
		wire: &tailcfg.Node{
			ID:                t.lastID,
			StableID:          tailcfg.StableNodeID(fmt.Sprintf("n%08dCNTRL", t.lastID)),
			Machine:           machine,
			Addresses:         addresses,
			AllowedIPs:        addresses,
			Created:           time.Now().UTC(),
			MachineAuthorized: true,
		},
		lastSeen: time.Now(),
	}
	t.nodes[t.lastID] = n
	return n, nil
}

// nameLocked gives n the first free name after its host name: web, web-1, web-2 …
func (t *tailnet) nameLocked(n *node, hostname string) {
	base := dnsname.SanitizeHostname(hostname)
	if base == "" {
		base = "node"
	}
	given := base
	for i := 1; t.takenLocked(given, n); i++ {
		given = fmt.Sprintf("%s-%d", base, i)
	}
	n.given = given
	n.wire.Name = given + "." + t.suffix + "."
}

func (t *tailnet) takenLocked(given string, except *node) bool {
	for _, other := range t.nodes {
		if other != except && other.given == given {
			return true
		}
	}
	return false
}

// removeLocked cuts the node off: its session gets a last map that expires its key, its peers forget it, and its
// node key means nothing any more.
func (t *tailnet) removeLocked(n *node) {
	n.deleted = true
	delete(t.nodes, n.wire.ID)
	if n.session != nil {
		n.session.poke()
	}
	t.changedLocked()
}

func (t *tailnet) removeByStableID(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.nodes {
		if string(n.wire.StableID) == id {
			t.removeLocked(n)
			return true
		}
	}
	return false
}

// device is a node as the admin API shows it.
type device struct {
	NodeID     string    `json:"nodeId"`
	ID         string    `json:"id"`
	Hostname   string    `json:"hostname"`
	Name       string    `json:"name"`
	Addresses  []string  `json:"addresses"`
	Tags       []string  `json:"tags"`
	Online     bool      `json:"online"`
	Expired    bool      `json:"expired"`
	Ephemeral  bool      `json:"ephemeral"`
	Created    time.Time `json:"created"`
	LastSeen   time.Time `json:"lastSeen"`
	KeyID      string    `json:"keyId"`
	NodeKey    string    `json:"nodeKey"`
	MachineKey string    `json:"machineKey"`
	OS         string    `json:"os"`
	Version    string    `json:"clientVersion"`
}

// devices lists the nodes in the order in which they joined, with the version of the list and a channel that is
// closed when there is a newer one.
func (t *tailnet) devices() (list []device, version int64, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list = []device{}
	for _, n := range t.nodes {
		list = append(list, n.device())
	}
	slices.SortFunc(list, func(a, b device) int { return strings.Compare(a.NodeID, b.NodeID) })
	return list, t.version, t.changed
}

func (n *node) device() device {
	d := device{
		NodeID:     string(n.wire.StableID),
		ID:         fmt.Sprint(int64(n.wire.ID)),
		Name:       strings.TrimSuffix(n.wire.Name, "."),
		Addresses:  []string{},
		Tags:       slices.Clone(n.wire.Tags),
		Online:     n.online(),
		Expired:    n.wire.Expired,
		Ephemeral:  n.ephemeral,
		Created:    n.wire.Created,
		LastSeen:   n.lastSeen,
		KeyID:      n.keyID,
		NodeKey:    n.wire.Key.String(),
		MachineKey: n.wire.Machine.String(),
	}
	for _, prefix := range n.wire.Addresses {
		d.Addresses = append(d.Addresses, prefix.Addr().String())
	}
	if n.wire.Hostinfo.Valid() {
		d.Hostname = n.wire.Hostinfo.Hostname()
		d.OS = n.wire.Hostinfo.OS()
		d.Version = n.wire.Hostinfo.IPNVersion()
	}
	return d
}
