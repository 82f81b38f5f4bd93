package main

import (
	"fmt"
	"slices"
	"time"
)

// authKey is one pre-authentication key. What the API calls `invalid` follows from the other fields.
type authKey struct {
	ID            string    `json:"id"`
	Tags          []string  `json:"tags"`
	Created       time.Time `json:"created"`
	Expires       time.Time `json:"expires"`
	Revoked       time.Time `json:"revoked,omitzero"`
	Reusable      bool      `json:"reusable"`
	Ephemeral     bool      `json:"ephemeral"`
	Preauthorized bool      `json:"preauthorized"`
	// Uses counts the nodes that joined by it.
	Uses int `json:"uses"`
}

// refusal says why the key lets nobody in, in the words that a node gets from Tailscale, or is nil.
func (k *authKey) refusal(now time.Time) error {
	spent := !k.Reusable && k.Uses > 0
	if spent || !k.Revoked.IsZero() || !now.Before(k.Expires) {
		return fmt.Errorf("invalid key: API key %s not valid", k.ID)
	}
	return nil
}

// addKey makes text a key of the tailnet from now on.
func (t *tailnet) addKey(text string, k authKey) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if text == "" || k.ID == "" {
		return fmt.Errorf("key and id must not be empty")
	}
	if _, taken := t.keys[k.ID]; taken || t.keyIDs[text] != "" {
		return fmt.Errorf("key %s exists", k.ID)
	}
	k.Created = t.nowLocked()
	t.keys[k.ID] = &k
	t.keyIDs[text] = k.ID
	return nil
}

// revokeKey reports whether there is a key of that id. A revoked key stays known, as at Tailscale.
func (t *tailnet) revokeKey(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.keys[id]
	if k == nil {
		return false
	}
	if k.Revoked.IsZero() {
		k.Revoked = t.nowLocked()
	}
	return true
}

// useKeyLocked spends one use of the key. Tags that the machine asks for must be among the key's.
func (t *tailnet) useKeyLocked(text string, tags []string) (*authKey, error) {
	k := t.keys[t.keyIDs[text]]
	if k == nil {
		return nil, fmt.Errorf("invalid key: API key does not exist")
	}
	if err := k.refusal(t.nowLocked()); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(tags, func(tag string) bool { return !slices.Contains(k.Tags, tag) }) {
		return nil, fmt.Errorf("requested tags %v are invalid or not permitted", tags)
	}
	k.Uses++
	return k, nil
}
