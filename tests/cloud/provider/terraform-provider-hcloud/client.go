package main

import (
	"os"
	"time"

	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

const tokenLength = 64

// settings are the provider block's arguments, with the environment's already in their places; "" is "not given".
type settings struct {
	token, endpoint, endpointHetzner string
	// poll is nil for the client library's own default.
	poll hcloud.BackoffFunc
}

// client is what a configured provider hands to its resources.
func (s settings) client() *hcloud.Client {
	options := []hcloud.ClientOption{
		hcloud.WithToken(s.token),
		hcloud.WithApplication("hcloud-terraform", version),
	}
	if s.endpoint != "" {
		options = append(options, hcloud.WithEndpoint(s.endpoint))
	}
	if s.endpointHetzner != "" {
		options = append(options, hcloud.WithHetznerEndpoint(s.endpointHetzner))
	}
	if s.poll != nil {
		options = append(options, hcloud.WithPollOpts(hcloud.PollOpts{BackoffFunc: s.poll}))
	}
	if base, shortened := retryInterval(); shortened {
		options = append(options, hcloud.WithRetryOpts(hcloud.RetryOpts{BackoffFunc: hcloud.ConstantBackoff(base), MaxRetries: 5}))
	}
	return hcloud.NewClient(options...)
}

// polling is how often a running action is looked at, when an interval was given.
func polling(function string, interval time.Duration) hcloud.BackoffFunc {
	if function == "constant" {
		return hcloud.ConstantBackoff(interval)
	}
	return hcloud.ExponentialBackoff(2, interval)
}

// retryInterval exists in the stand-in alone: tests of the retries keep their number and shorten the time between.
func retryInterval() (time.Duration, bool) {
	interval, err := time.ParseDuration(os.Getenv("HCLOUD_STANDIN_RETRY_INTERVAL"))
	return interval, err == nil
}

func firstOf(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}
