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

// classifyError says in the table's words what an exchange ended in. A missing row
// under a swap is a conflict, which the caller of it must say.
func classifyError(err error) error {
	if err == nil || isStoreError(err) {
		return err
	}
	var res *azcore.ResponseError
	if !errors.As(err, &res) {
		return transportError(err)
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

// transportError tells an exchange that was never sent for want of a token from
// one that may have been applied.
func transportError(err error) error {
	var auth *azidentity.AuthenticationFailedError
	if errors.As(err, &auth) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: no token: %w", tablestore.ErrRefused, err)
	}
	return fmt.Errorf("%w: %w", tablestore.ErrUnknown, err)
}

func isStoreError(err error) bool {
	return errors.Is(err, tablestore.ErrUnknown) || errors.Is(err, tablestore.ErrRefused) ||
		errors.Is(err, tablestore.ErrConflict) || errors.Is(err, tablestore.ErrNotFound)
}

// errorCode is the service's word for an error; "" when it did not answer with one.
func errorCode(err error) string {
	var res *azcore.ResponseError
	if errors.As(err, &res) {
		return res.ErrorCode
	}
	return ""
}
