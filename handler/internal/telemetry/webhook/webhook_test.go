package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// A delivery is signed, follows no redirect, and is repeated under its id until it
// arrives.
func TestDeliver(t *testing.T) {
	var calls atomic.Int32
	bodies := make(chan map[string]any, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mac := hmac.New(sha256.New, []byte("a secret of the receiver"))
		mac.Write([]byte(r.Header.Get("webhook-id") + "." + r.Header.Get("webhook-timestamp") + "." + string(body)))
		if r.Header.Get("webhook-signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) || r.Header.Get("webhook-id") != "id-1" || r.URL.Path != "/secret" {
			t.Errorf("%s: %v", r.URL, r.Header)
		}
		if calls.Add(1) == 1 {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			return
		}
		var event map[string]any
		_ = json.Unmarshal(body, &event)
		bodies <- event
	}))
	defer s.Close()
	var failed error
	h := &Webhook{URL: s.URL + "/secret", Secret: "a secret of the receiver", OnError: func(err error) { failed = err }}
	if err := h.Deliver(t.Context(), "id-1", "budget.warning", map[string]string{"consumer": "team-a"}); err != nil {
		t.Fatal(err)
	}
	event := <-bodies
	if data, _ := event["data"].(map[string]any); event["type"] != "budget.warning" || event["timestamp"] == nil || data["consumer"] != "team-a" {
		t.Errorf("%v", event)
	}
	if failed == nil || !strings.Contains(failed.Error(), "307") || calls.Load() != 2 {
		t.Errorf("%d calls, %v", calls.Load(), failed)
	}
}

// The end of the process ends a delivery, and no error holds the address.
func TestDeliverEnds(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	h := &Webhook{URL: s.URL + "/secret", OnError: func(err error) {
		if strings.Contains(err.Error(), "/secret") {
			t.Errorf("%v", err)
		}
		cancel()
	}}
	if h.Deliver(ctx, "id", "budget.warning", nil) == nil {
		t.Error("delivered to nobody")
	}
}

// The example of https://github.com/standard-webhooks/standard-webhooks.
func TestSign(t *testing.T) {
	const id, at, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", `{"test": 2432232314}`
	if got := sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", id, at, []byte(body)); got != "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("%s", got)
	}
}
