package main

import (
	"fmt"
	"os"
	"time"

	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

// settings are the provider block's arguments as both halves of the provider read them; "" is "not given".
type settings struct {
	token, endpoint, endpointHetzner, pollInterval, pollFunction string
}

// client is what a configured provider hands to its resources.
func (s settings) client() (*hcloud.Client, error) {
	token := firstOf(s.token, os.Getenv("HCLOUD_TOKEN"))
	if len(token) != 64 {
		return nil, fmt.Errorf("entered token is invalid (must be exactly 64 characters long)")
	}
	options := []hcloud.ClientOption{
		hcloud.WithToken(token),
		hcloud.WithApplication("hcloud-terraform", version),
	}
	if endpoint := firstOf(s.endpoint, os.Getenv("HCLOUD_ENDPOINT")); endpoint != "" {
		options = append(options, hcloud.WithEndpoint(endpoint))
	}
	if endpoint := firstOf(s.endpointHetzner, os.Getenv("HETZNER_ENDPOINT")); endpoint != "" {
		options = append(options, hcloud.WithHetznerEndpoint(endpoint))
	}

	interval := 500 * time.Millisecond
	if s.pollInterval != "" {
		parsed, err := time.ParseDuration(s.pollInterval)
		if err != nil {
			return nil, fmt.Errorf("poll_interval: %w", err)
		}
		interval = parsed
	}
	poll := hcloud.ExponentialBackoffWithOpts(hcloud.ExponentialBackoffOpts{Base: interval, Multiplier: 2, Cap: 60 * time.Second})
	switch s.pollFunction {
	case "", "exponential":
	case "constant":
		poll = hcloud.ConstantBackoff(interval)
	default:
		return nil, fmt.Errorf("poll_function: %q is neither constant nor exponential", s.pollFunction)
	}
	options = append(options, hcloud.WithPollOpts(hcloud.PollOpts{BackoffFunc: poll}))

	// Only in the stand-in: tests of the retries keep their number (six tries) and shorten the 20 s between them.
	if base, err := time.ParseDuration(os.Getenv("HCLOUD_STANDIN_RETRY_INTERVAL")); err == nil {
		options = append(options, hcloud.WithRetryOpts(hcloud.RetryOpts{BackoffFunc: hcloud.ConstantBackoff(base), MaxRetries: 5}))
	}
	return hcloud.NewClient(options...), nil
}

func firstOf(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}
