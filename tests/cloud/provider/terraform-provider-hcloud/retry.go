package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

// usualTries is how often the provider itself makes a call that it repeats. The client library's own repeats (429,
// conflict, 502, 504: six tries) are inside of each.
const usualTries = 5

// retried makes the call until it succeeds, fails with something that `again` does not want repeated, or was made
// `tries` times; 1, 2, 4 … 60 s apart.
func retried(ctx context.Context, tries int, again func(error) bool, call func() error) error {
	wait := hcloud.ExponentialBackoff(2, time.Second)
	if interval, shortened := retryInterval(); shortened {
		wait = hcloud.ConstantBackoff(interval)
	}
	for try := 0; ; try++ {
		err := call()
		if err == nil || try+1 >= tries || !again(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait(try)):
		}
	}
}

func anyError(error) bool { return true }

func withCode(codes ...hcloud.ErrorCode) func(error) bool {
	return func(err error) bool { return hcloud.IsError(err, codes...) }
}

// A network with something in it answers service_error, told from other service errors by its text alone.
func stillAttached(err error) bool {
	return hcloud.IsError(err, hcloud.ErrorCodeServiceError) &&
		(strings.Contains(err.Error(), "servers are attached") || strings.Contains(err.Error(), "network has attached resources"))
}

// waitFor polls the actions one after the other, one list call each; no action is done at once.
func waitFor(ctx context.Context, client *hcloud.Client, actions ...*hcloud.Action) error {
	for _, action := range actions {
		if action == nil {
			continue
		}
		if err := client.Action.WaitFor(ctx, action); err != nil {
			return err
		}
	}
	return nil
}

// finished waits for the action of a call, unless the call failed: `finished(ctx, client)(client.Server.Poweron(…))`.
func finished(ctx context.Context, client *hcloud.Client) func(*hcloud.Action, *hcloud.Response, error) error {
	return func(action *hcloud.Action, _ *hcloud.Response, err error) error {
		if err != nil {
			return err
		}
		return waitFor(ctx, client, action)
	}
}

// finishedAll is the same for calls with several actions, which are polled together.
func finishedAll(ctx context.Context, client *hcloud.Client) func([]*hcloud.Action, *hcloud.Response, error) error {
	return func(actions []*hcloud.Action, _ *hcloud.Response, err error) error {
		if err != nil {
			return err
		}
		return client.Action.WaitFor(ctx, actions...)
	}
}

// within puts the name of an operation in front of an error, as some of the real provider's texts have it.
func within(operation string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", operation, err)
}
