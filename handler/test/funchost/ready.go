package funchost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// pingEvery is how often a handler that is not ready is asked again (D 4).
const pingEvery = 25 * time.Millisecond

// awaitReady pings the handler until it answers: any status will do, and so
// will an answer that is no HTTP; only a refused connection means "not yet". It
// ends with an error when the time is up or ctx is done.
func (h *Host) awaitReady(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, h.options.ReadyTimeout, errNotReady)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	for {
		err := ping(ctx, client, port)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pingEvery):
		}
	}
}

var errNotReady = errors.New("initializing HttpWorker timed out")

// ping asks once and reads the answer to its end. Its error is that the
// handler cannot be connected to.
func ping(ctx context.Context, client *http.Client, port int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", port), nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "") // the host sends none
	response, err := client.Do(request)
	if err != nil {
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			return err
		}
		return nil
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body) // an answer cut short is an answer
	return nil
}
