package main

import (
	"fmt"
	"net/http"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
	"tailscale.com/util/rands"
)

// serveRegister answers login, key refresh and logout, which share one request type.
func (c *control) serveRegister(w http.ResponseWriter, r *http.Request) {
	var request tailcfg.RegisterRequest
	machine, ok := readRequest(w, r, &request)
	if !ok {
		return
	}
	if request.Followup != "" {
		// The client waits here for a person to log in on the page; nobody will.
		<-r.Context().Done()
		return
	}
	writeJSON(w, c.register(&request, machine))
}

func (c *control) register(request *tailcfg.RegisterRequest, machine key.MachinePublic) *tailcfg.RegisterResponse {
	t := c.tailnet
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.byNodeKeyLocked(request.NodeKey)
	if known != nil && known.wire.Machine != machine {
		return &tailcfg.RegisterResponse{Error: "node key belongs to another machine"}
	}
	// By the computer's clock, which is what the node's logout went by.
	if !request.Expiry.IsZero() && request.Expiry.Before(time.Now()) {
		return t.logoutLocked(known)
	}
	if known != nil && !known.wire.Expired {
		// A refresh; the key in it, if any, is not looked at. A join whose answer was lost is none: tailscaled makes a
		// new node key for each try, and its one-off key has been spent (issues 9715 and 10782 of tailscale/tailscale).
		return welcome(known)
	}
	if request.Auth == nil || request.Auth.AuthKey == "" {
		return &tailcfg.RegisterResponse{AuthURL: c.baseURL + "/login/" + rands.HexString(12)}
	}
	n, err := t.joinLocked(request, machine)
	if err != nil {
		return &tailcfg.RegisterResponse{Error: err.Error()}
	}
	return welcome(n)
}

// joinLocked lets a machine in by its auth key. A machine that is in the tailnet already keeps id, addresses and
// device entry and gets the new key's tags.
func (t *tailnet) joinLocked(request *tailcfg.RegisterRequest, machine key.MachinePublic) (*node, error) {
	if request.Hostinfo == nil {
		return nil, fmt.Errorf("register request without host info")
	}
	used, err := t.useKeyLocked(request.Auth.AuthKey, request.Hostinfo.RequestTags)
	if err != nil {
		return nil, err
	}
	n := t.byMachineLocked(machine)
	created := n == nil
	if created {
		if n, err = t.addNodeLocked(machine); err != nil {
			return nil, err
		}
		n.wire.MachineAuthorized = used.Preauthorized || !t.approval
	}
	n.keyID = used.ID
	n.ephemeral = used.Ephemeral || request.Ephemeral
	n.wire.Tags = used.Tags
	n.wire.User = operator
	if len(used.Tags) > 0 {
		n.wire.User = taggedDevices
	}
	n.wire.Key = request.NodeKey
	n.wire.Cap = request.Version
	n.wire.Hostinfo = request.Hostinfo.View()
	t.renewLocked(n)
	n.routeLocked()
	if !n.pinned {
		taken := len(t.faults.take(http.MethodPost, "/machine/register", "taken")) > 0
		t.nameLocked(n, request.Hostinfo.Hostname, taken)
	}
	if created {
		t.emitLocked("nodeCreated", n, used.ID)
		if !n.wire.MachineAuthorized {
			t.emitLocked("nodeNeedsApproval", n, used.ID)
		}
	}
	t.changedLocked()
	return n, nil
}

// logoutLocked expires the node's key. An ephemeral node vanishes, others stay listed.
func (t *tailnet) logoutLocked(n *node) *tailcfg.RegisterResponse {
	if n == nil {
		return &tailcfg.RegisterResponse{NodeKeyExpired: true}
	}
	if n.ephemeral {
		t.removeLocked(n, string(n.wire.StableID))
	} else {
		t.expireLocked(n)
	}
	return &tailcfg.RegisterResponse{NodeKeyExpired: true, MachineAuthorized: true}
}

func welcome(n *node) *tailcfg.RegisterResponse {
	profile := profileOf(n.wire.User)
	return &tailcfg.RegisterResponse{
		User:              tailcfg.User{ID: profile.ID, DisplayName: profile.DisplayName},
		Login:             tailcfg.Login{ID: tailcfg.LoginID(profile.ID), LoginName: profile.LoginName, DisplayName: profile.DisplayName},
		MachineAuthorized: n.wire.MachineAuthorized,
	}
}

func profileOf(id tailcfg.UserID) tailcfg.UserProfile {
	if id == taggedDevices {
		return tailcfg.UserProfile{ID: id, LoginName: "tagged-devices", DisplayName: "Tagged Devices"}
	}
	return tailcfg.UserProfile{ID: id, LoginName: "operator@clawpool.test", DisplayName: "Operator"}
}
