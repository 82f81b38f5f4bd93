package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	frameworkdiag "github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

// failure is the recorded form of an API error in a plugin SDK resource: all in the summary, and for invalid input
// the fields with what is wrong with each. nil for nil.
//
// Like the real provider it crashes when an invalid_input comes without details: an emulator that leaves them out
// shall not go unnoticed.
func failure(err error) diag.Diagnostics {
	var apiError hcloud.Error
	if !errors.As(err, &apiError) || apiError.Code != hcloud.ErrorCodeInvalidInput {
		return diag.FromErr(err)
	}
	fields := []string{}
	for _, field := range apiError.Details.(hcloud.ErrorDetailsInvalidInput).Fields {
		fields = append(fields, fmt.Sprintf("%s => %s", field.Name, field.Messages))
	}
	return diag.Errorf("%s: %s", apiError.Error(), fields)
}

// failed is the recorded form of an API error in a framework resource: a fixed summary, the rest in the detail.
func failed(err error) frameworkdiag.Diagnostics {
	const unexpected = "An unexpected error was encountered during an API request.\n\n%s\n"
	var apiError hcloud.Error
	if !errors.As(err, &apiError) {
		return oneError("API request failed", fmt.Sprintf(unexpected, err))
	}
	origin := fmt.Sprintf("Error code: %s\n", apiError.Code)
	if response := apiError.Response(); response != nil {
		origin += fmt.Sprintf("Status code: %d\n", response.StatusCode)
	}
	if apiError.Code != hcloud.ErrorCodeInvalidInput {
		return oneError("API request failed", fmt.Sprintf(unexpected, apiError.Error())+"\n"+origin)
	}
	const summary = "Invalid field in API request"
	invalid := "An invalid field was encountered during an API request. The field might not map 1:1 to your terraform resource.\n\n" +
		err.Error() + "\n\n"
	fields := apiError.Details.(hcloud.ErrorDetailsInvalidInput).Fields
	if len(fields) == 0 {
		return oneError(summary, invalid+origin)
	}
	var problems frameworkdiag.Diagnostics
	for _, field := range fields {
		text := invalid + "Field: " + field.Name + "\nMessages:\n"
		for _, message := range field.Messages {
			text += " - " + message + "\n"
		}
		problems.AddError(summary, text+origin)
	}
	return problems
}

// settled waits for the actions of a framework resource, all together; each that fails is an error of its own.
func settled(ctx context.Context, client *hcloud.Client, actions ...*hcloud.Action) frameworkdiag.Diagnostics {
	running := map[int64]*hcloud.Action{}
	var started []*hcloud.Action
	for _, action := range actions {
		if action != nil {
			started = append(started, action)
			running[action.ID] = action
		}
	}
	var problems frameworkdiag.Diagnostics
	err := client.Action.WaitForFunc(ctx, func(action *hcloud.Action) error {
		if action.Status == hcloud.ActionStatusRunning {
			return nil
		}
		delete(running, action.ID)
		if action.Status == hcloud.ActionStatusError {
			problems.AddError("Action failed", actionFailure(action))
		}
		return nil
	}, started...)
	switch {
	case err == nil:
		return problems
	case len(running) > 0 && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		text := "The request was cancelled while we were waiting on action(s) to complete."
		for _, action := range started {
			if running[action.ID] != nil {
				text += fmt.Sprintf("\n\n- Command: %s\n  ID: %d\n  Progress: %d%%\n  Resources: %s",
					action.Command, action.ID, action.Progress, resourcesOfAction(action))
			}
		}
		return append(oneError("Timeout while waiting on action(s)", text), problems...)
	default:
		return append(failed(err), problems...)
	}
}

// outcome of a call of a framework resource: why it failed, or how its action ended.
func outcome(ctx context.Context, client *hcloud.Client, action *hcloud.Action, err error) frameworkdiag.Diagnostics {
	if err != nil {
		return failed(err)
	}
	return settled(ctx, client, action)
}

func actionFailure(action *hcloud.Action) string {
	text := "An API action for the resource failed.\n\n"
	if action.ErrorMessage != "" {
		text += action.ErrorMessage + "\n\n"
	}
	return text + fmt.Sprintf("Error code: %s\nCommand: %s\nID: %d\nResources: %s",
		action.ErrorCode, action.Command, action.ID, resourcesOfAction(action))
}

func resourcesOfAction(action *hcloud.Action) string {
	var names []string
	for _, resource := range action.Resources {
		names = append(names, fmt.Sprintf("%s: %d", resource.Type, resource.ID))
	}
	return strings.Join(names, ", ")
}

func oneError(summary, detail string) frameworkdiag.Diagnostics {
	return frameworkdiag.Diagnostics{frameworkdiag.NewErrorDiagnostic(summary, detail)}
}
