// Package webhook tells somebody outside of an event: a signed POST, repeated until
// it arrives. It follows https://www.standardwebhooks.com: the headers webhook-id,
// webhook-timestamp and webhook-signature, which is the HMAC-SHA256 of
// "id.timestamp.body". It does not know what the events mean.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Webhook is one receiver. It is safe for concurrent use.
type Webhook struct {
	URL     string
	Secret  string      // "whsec_" and base64, or any other text
	OnError func(error) // called with the first failure of a delivery, which is repeated; nil = not called
}

const (
	timeout      = 10 * time.Second
	firstPause   = time.Second
	longestPause = 10 * time.Minute
)

// client follows no redirect: a signed body goes to the configured address alone.
var client = &http.Client{
	Timeout:       timeout,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Deliver sends an event until the receiver answers with 2xx or ctx is done, whose
// error it returns. A receiver that gets an id twice has it already.
func (h *Webhook) Deliver(ctx context.Context, id, kind string, data any) error {
	body, err := json.Marshal(map[string]any{"type": kind, "timestamp": time.Now().UTC(), "data": data})
	if err != nil {
		return err
	}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := h.post(ctx, id, body)
		if err == nil {
			return nil
		}
		if pause == firstPause && h.OnError != nil {
			h.OnError(err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// post sends it once. Its error never holds the address, which may be a secret.
func (h *Webhook) post(ctx context.Context, id string, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("the address of the webhook is not valid")
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", at)
	r.Header.Set("Webhook-Signature", "v1,"+sign(h.Secret, id, at, body))
	response, err := client.Do(r)
	var withAddress *url.Error
	if errors.As(err, &withAddress) {
		err = withAddress.Err
	}
	if err != nil {
		return fmt.Errorf("the webhook did not answer: %w", err)
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10)
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("the webhook answered %d", response.StatusCode)
	}
	return nil
}

// sign is the signature in base64.
func sign(secret, id, at string, body []byte) string {
	key := []byte(secret)
	if encoded, ok := strings.CutPrefix(secret, "whsec_"); ok {
		if decoded, err := base64.StdEncoding.DecodeString(encoded); err == nil {
			key = decoded
		}
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
