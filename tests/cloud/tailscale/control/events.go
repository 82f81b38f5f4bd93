package main

import (
	"strings"
	"time"
)

// event is one thing that Tailscale's webhooks tell of, under the name that they use.
type event struct {
	Seq        int       `json:"seq"`
	Type       string    `json:"type"`
	At         time.Time `json:"at"`
	NodeID     string    `json:"nodeId"`
	Name       string    `json:"name"`
	Address    string    `json:"address"`
	ManagedBy  string    `json:"managedBy"`
	Actor      string    `json:"actor"`
	Expiration time.Time `json:"expiration,omitzero"`
}

func (t *tailnet) emitLocked(kind string, n *node, actor string) {
	e := event{
		Seq:       len(t.events) + 1,
		Type:      kind,
		At:        t.nowLocked().UTC(),
		NodeID:    string(n.wire.StableID),
		Name:      strings.TrimSuffix(n.wire.Name, "."),
		Address:   n.wire.Addresses[0].Addr().String(),
		ManagedBy: strings.Join(n.wire.Tags, ","),
		Actor:     actor,
	}
	if e.ManagedBy == "" {
		e.ManagedBy = profileOf(operator).LoginName
	}
	if strings.HasPrefix(kind, "nodeKey") {
		e.Expiration = n.keyExpires.UTC()
	}
	t.events = append(t.events, e)
}

// eventsAfter gives the events with a higher number than seq, and a channel that is closed when there may be more.
func (t *tailnet) eventsAfter(seq int) (list []event, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list = []event{}
	if seq < len(t.events) {
		list = append(list, t.events[max(seq, 0):]...)
	}
	return list, t.changed
}
