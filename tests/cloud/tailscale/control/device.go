package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tailscale.com/net/tsaddr"
	"tailscale.com/types/opt"
	"tailscale.com/util/dnsname"
)

// device is a node as the admin API shows it.
type device struct {
	NodeID            string        `json:"nodeId"`
	ID                string        `json:"id"`
	Hostname          string        `json:"hostname"`
	Name              string        `json:"name"`
	Addresses         []string      `json:"addresses"`
	Tags              []string      `json:"tags"`
	Online            bool          `json:"online"`
	Authorized        bool          `json:"authorized"`
	Expired           bool          `json:"expired"`
	Expires           time.Time     `json:"expires"`
	KeyExpiryDisabled bool          `json:"keyExpiryDisabled"`
	Ephemeral         bool          `json:"ephemeral"`
	Created           time.Time     `json:"created"`
	LastSeen          time.Time     `json:"lastSeen"`
	KeyID             string        `json:"keyId"`
	NodeKey           string        `json:"nodeKey"`
	MachineKey        string        `json:"machineKey"`
	OS                string        `json:"os"`
	Version           string        `json:"clientVersion"`
	ShieldsUp         bool          `json:"blocksIncomingConnections"`
	AdvertisedRoutes  []string      `json:"advertisedRoutes"`
	EnabledRoutes     []string      `json:"enabledRoutes"`
	SSH               bool          `json:"sshEnabled"`
	Distro            *distro       `json:"distro,omitempty"`
	Connectivity      *connectivity `json:"clientConnectivity,omitempty"`
}

type distro struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	CodeName string `json:"codeName"`
}

type connectivity struct {
	Endpoints             []string           `json:"endpoints"`
	MappingVariesByDestIP *bool              `json:"mappingVariesByDestIP"`
	Latency               map[string]latency `json:"latency"`
	ClientSupports        clientSupports     `json:"clientSupports"`
}

type latency struct {
	Preferred bool    `json:"preferred,omitempty"`
	Ms        float64 `json:"latencyMs"`
}

type clientSupports struct {
	HairPinning *bool `json:"hairPinning"`
	IPv6        *bool `json:"ipv6"`
	PCP         *bool `json:"pcp"`
	PMP         *bool `json:"pmp"`
	UDP         *bool `json:"udp"`
	UPnP        *bool `json:"upnp"`
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
		NodeID:            string(n.wire.StableID),
		ID:                fmt.Sprint(int64(n.wire.ID)),
		Name:              strings.TrimSuffix(n.wire.Name, "."),
		Addresses:         []string{},
		Tags:              append([]string{}, n.wire.Tags...),
		Online:            n.online(),
		Authorized:        n.wire.MachineAuthorized,
		Expired:           n.wire.Expired,
		Expires:           n.keyExpires.UTC(),
		KeyExpiryDisabled: n.keyExpiryDisabled,
		Ephemeral:         n.ephemeral,
		Created:           n.wire.Created,
		LastSeen:          n.lastSeen.UTC(),
		KeyID:             n.keyID,
		NodeKey:           n.wire.Key.String(),
		MachineKey:        n.wire.Machine.String(),
		AdvertisedRoutes:  []string{},
		EnabledRoutes:     texts(n.enabledRoutes),
	}
	for _, prefix := range n.wire.Addresses {
		d.Addresses = append(d.Addresses, prefix.Addr().String())
	}
	host := n.wire.Hostinfo
	if !host.Valid() {
		return d
	}
	d.Hostname = host.Hostname()
	d.OS = host.OS()
	d.Version = host.IPNVersion()
	d.ShieldsUp = host.ShieldsUp()
	d.AdvertisedRoutes = texts(host.RoutableIPs().AsSlice())
	d.SSH = host.SSH_HostKeys().Len() > 0
	if host.Distro() != "" {
		d.Distro = &distro{Name: host.Distro(), Version: host.DistroVersion(), CodeName: host.DistroCodeName()}
	}
	d.Connectivity = n.connectivity()
	return d
}

func (n *node) connectivity() *connectivity {
	info := n.wire.Hostinfo.NetInfo()
	if !info.Valid() {
		return nil
	}
	c := &connectivity{
		Endpoints:             []string{},
		MappingVariesByDestIP: known(info.MappingVariesByDestIP()),
		Latency:               map[string]latency{},
		ClientSupports: clientSupports{
			IPv6: known(info.OSHasIPv6()),
			PCP:  known(info.PCP()),
			PMP:  known(info.PMP()),
			UDP:  known(info.WorkingUDP()),
			UPnP: known(info.UPnP()),
		},
	}
	for _, endpoint := range n.wire.Endpoints {
		c.Endpoints = append(c.Endpoints, endpoint.String())
	}
	// There is one relay; nodes report it once for each kind of address.
	for _, seconds := range info.DERPLatency().All() {
		c.Latency[regionName] = latency{Preferred: info.PreferredDERP() == regionID, Ms: seconds * 1000}
	}
	return c
}

func known(b opt.Bool) *bool {
	if value, ok := b.Get(); ok {
		return &value
	}
	return nil
}

func texts(prefixes []netip.Prefix) []string {
	list := []string{}
	for _, prefix := range prefixes {
		list = append(list, prefix.String())
	}
	return list
}

// change is what Tailscale's API can do to a device; absent fields stay as they are.
type change struct {
	// Actor is whom events name as the cause.
	Actor             string    `json:"actor"`
	Tags              *[]string `json:"tags"`
	Name              *string   `json:"name"`
	Authorized        *bool     `json:"authorized"`
	KeyExpiryDisabled *bool     `json:"keyExpiryDisabled"`
	Expire            bool      `json:"expire"`
	EnabledRoutes     *[]string `json:"enabledRoutes"`
	IPv4              *string   `json:"ipv4"`
}

// changeDevice reports whether there is such a device. What cannot be done is an error, and nothing was changed.
func (t *tailnet) changeDevice(id string, c change) (found bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byStableIDLocked(id)
	if n == nil {
		return false, nil
	}
	if c.Name != nil {
		if err := t.renameLocked(n, *c.Name); err != nil {
			return true, err
		}
	}
	if c.IPv4 != nil {
		if err := t.moveLocked(n, *c.IPv4); err != nil {
			return true, err
		}
	}
	if c.EnabledRoutes != nil {
		routes := []netip.Prefix{}
		for _, text := range *c.EnabledRoutes {
			route, err := netip.ParsePrefix(text)
			if err != nil || route != route.Masked() {
				return true, fmt.Errorf("%q is not a route", text)
			}
			routes = append(routes, route)
		}
		n.enabledRoutes = routes
		n.routeLocked()
	}
	if c.Tags != nil {
		n.wire.Tags = *c.Tags
		n.wire.User = taggedDevices
	}
	if c.KeyExpiryDisabled != nil {
		n.keyExpiryDisabled = *c.KeyExpiryDisabled
		n.showExpiryLocked()
	}
	if c.Expire && !n.wire.Expired {
		t.expireLocked(n)
		t.emitLocked("nodeKeyExpired", n, c.Actor)
	}
	if c.Authorized != nil && n.wire.MachineAuthorized != *c.Authorized {
		n.wire.MachineAuthorized = *c.Authorized
		if *c.Authorized {
			t.emitLocked("nodeApproved", n, c.Actor)
		}
	}
	t.changedLocked()
	t.dueLocked()
	return true, nil
}

// renameLocked takes a name with or without the tailnet's suffix; "" goes back to the machine's host name.
func (t *tailnet) renameLocked(n *node, name string) error {
	if name == "" {
		n.pinned = false
		t.nameLocked(n, n.wire.Hostinfo.Hostname(), false)
		return nil
	}
	given := strings.TrimSuffix(strings.ToLower(name), "."+t.suffix)
	if dnsname.ValidLabel(given) != nil {
		return fmt.Errorf("%q is not a valid device name", name)
	}
	if t.nameTakenLocked(given, n) {
		return fmt.Errorf("the device name %q is taken", given)
	}
	n.given, n.pinned = given, true
	n.wire.Name = given + "." + t.suffix + "."
	return nil
}

func (t *tailnet) moveLocked(n *node, text string) error {
	address, err := netip.ParseAddr(text)
	if err != nil || !tsaddr.IsTailscaleIPv4(address) || address == tsaddr.TailscaleServiceIP() {
		return fmt.Errorf("%q is not an IPv4 address of a tailnet", text)
	}
	if n.wire.Addresses[0].Addr() != address && t.addressTakenLocked(address) {
		return fmt.Errorf("the address %s is taken", address)
	}
	n.wire.Addresses = append([]netip.Prefix{netip.PrefixFrom(address, 32)}, n.wire.Addresses[1:]...)
	n.routeLocked()
	return nil
}

func (t *tailnet) removeByStableID(id, actor string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byStableIDLocked(id)
	if n == nil {
		return false
	}
	t.removeLocked(n, actor)
	return true
}
