package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"spillway/handler/internal/tablestore"
)

// classify says in the table's words what an exchange ended in. A missing row
// under a swap is a conflict, which the caller of it must say.
func classify(err error) error {
	if err == nil || isOurs(err) {
		return err
	}
	var res *azcore.ResponseError
	if !errors.As(err, &res) {
		return unanswered(err)
	}
	switch status := res.StatusCode; {
	case status == http.StatusNotFound:
		return fmt.Errorf("%w: %s", tablestore.ErrNotFound, res.ErrorCode)
	case status == http.StatusConflict, status == http.StatusPreconditionFailed:
		return fmt.Errorf("%w: %s", tablestore.ErrConflict, res.ErrorCode)
	case status >= http.StatusInternalServerError, status == http.StatusRequestTimeout, status == http.StatusTooManyRequests:
		return fmt.Errorf("%w: status %d %s", tablestore.ErrUnknown, status, res.ErrorCode)
	default:
		return fmt.Errorf("%w: status %d %s: check the credential, its role Storage Table Data Contributor, and this machine's clock", tablestore.ErrRefused, status, res.ErrorCode)
	}
}

// unanswered tells an exchange that was never sent for want of a token from
// one that may have been applied.
func unanswered(err error) error {
	var auth *azidentity.AuthenticationFailedError
	if errors.As(err, &auth) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: no token: %w", tablestore.ErrRefused, err)
	}
	return fmt.Errorf("%w: %w", tablestore.ErrUnknown, err)
}

func isOurs(err error) bool {
	return errors.Is(err, tablestore.ErrUnknown) || errors.Is(err, tablestore.ErrRefused) ||
		errors.Is(err, tablestore.ErrConflict) || errors.Is(err, tablestore.ErrNotFound)
}

// code is the service's word for an error; "" when it did not answer with one.
func code(err error) string {
	var res *azcore.ResponseError
	if errors.As(err, &res) {
		return res.ErrorCode
	}
	return ""
}
