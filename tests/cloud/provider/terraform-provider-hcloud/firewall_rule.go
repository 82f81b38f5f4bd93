package main

import (
	"net"

	"github.com/hashicorp/go-cty/cty"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

func firewallRuleSchema() map[string]*schema.Schema {
	addresses := func() *schema.Schema {
		return &schema.Schema{Type: schema.TypeSet, Optional: true, Elem: &schema.Schema{
			Type: schema.TypeString, ValidateDiagFunc: validAddress,
			StateFunc: func(value any) string { return canonicalAddress(value.(string)) },
		}}
	}
	return map[string]*schema.Schema{
		"direction": {Type: schema.TypeString, Required: true, ValidateDiagFunc: oneOfTexts("direction", "in", "out")},
		"protocol": {Type: schema.TypeString, Required: true,
			ValidateDiagFunc: oneOfTexts("protocol", "icmp", "tcp", "udp", "esp", "gre")},
		"port":            {Type: schema.TypeString, Optional: true},
		"source_ips":      addresses(),
		"destination_ips": addresses(),
		"description":     {Type: schema.TypeString, Optional: true},
	}
}

// canonicalAddress makes `10.0.0.1` a block of one and writes IPv6 in lower case and its shortest form, as the API
// does. Bits behind the prefix stay, so that validAddress sees them; what is no address stays as it is.
func canonicalAddress(text string) string {
	if address, block, err := net.ParseCIDR(text); err == nil {
		block.IP = address
		return block.String()
	}
	address := net.ParseIP(text)
	if address == nil {
		return text
	}
	bits := 128
	if address.To4() != nil {
		bits = 32
	}
	return (&net.IPNet{IP: address, Mask: net.CIDRMask(bits, bits)}).String()
}

func validAddress(value any, _ cty.Path) diag.Diagnostics {
	text := canonicalAddress(value.(string))
	address, block, err := net.ParseCIDR(text)
	if err != nil {
		return diag.FromErr(err)
	}
	if !address.Equal(block.IP) {
		return diag.Errorf("%s is not the start of the cidr block %s", text, block)
	}
	return nil
}

func rulesOf(d *schema.ResourceData) []hcloud.FirewallRule {
	var rules []hcloud.FirewallRule
	for _, item := range d.Get("rule").(*schema.Set).List() {
		block := item.(map[string]any)
		rule := hcloud.FirewallRule{
			Direction: hcloud.FirewallRuleDirection(block["direction"].(string)),
			Protocol:  hcloud.FirewallRuleProtocol(block["protocol"].(string)),
			SourceIPs: blocksFrom(block["source_ips"]), DestinationIPs: blocksFrom(block["destination_ips"]),
			Port: given(block["port"]), Description: given(block["description"]),
		}
		// A set whose members have a StateFunc brings an empty block with it
		// (https://github.com/hashicorp/terraform-plugin-sdk/issues/160).
		if rule.Direction != "" && rule.Protocol != "" {
			rules = append(rules, rule)
		}
	}
	return rules
}

// given is nil for the empty text, which stands for "not given" in a block.
func given(value any) *string {
	if text := value.(string); text != "" {
		return &text
	}
	return nil
}

func blocksFrom(set any) []net.IPNet {
	var blocks []net.IPNet
	for _, item := range set.(*schema.Set).List() {
		if _, block, err := net.ParseCIDR(canonicalAddress(item.(string))); err == nil {
			blocks = append(blocks, *block)
		}
	}
	return blocks
}

func ruleBlock(rule hcloud.FirewallRule) map[string]any {
	block := map[string]any{
		"direction": string(rule.Direction), "protocol": string(rule.Protocol),
		"source_ips": texts(rule.SourceIPs), "destination_ips": texts(rule.DestinationIPs),
	}
	if rule.Port != nil {
		block["port"] = *rule.Port
	}
	if rule.Description != nil {
		block["description"] = *rule.Description
	}
	return block
}

func texts(blocks []net.IPNet) []string {
	result := []string{}
	for _, block := range blocks {
		result = append(result, block.String())
	}
	return result
}
