package funchost

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func TestIdleTimeoutBeforeFirstByteIs500(t *testing.T) {
	h := start(t, app{}, Options{IdleTimeout: 500 * time.Millisecond})
	response, body := get(t, script(h, "flush", "cancelled"))
	wantEmpty500(t, response, body)
	waitLine(t, h, "cancelled")
}

func TestIdleTimeoutAfterFirstByteResets(t *testing.T) {
	h := start(t, app{}, Options{IdleTimeout: 500 * time.Millisecond})
	response := <-startRequest(t, newRequest(t, http.MethodGet, script(h, "write:begun", "flush", "cancelled"), nil))
	if body := readUntilReset(t, response); body != "begun" {
		t.Errorf("read %q", body)
	}
	waitLine(t, h, "cancelled")
}

func TestEachByteRestartsTheIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := httptest.NewRecorder()
		h := &Host{options: Options{IdleTimeout: 240 * time.Second, lossWindow: defaultLossWindow}}
		c := &call{host: h, w: recorder, r: httptest.NewRequest(http.MethodGet, "/x", nil)}
		c.ctx, c.cancel = context.WithCancelCause(t.Context())
		c.idle = time.AfterFunc(h.options.IdleTimeout, func() { c.cancel(errIdle) })
		body, handler := io.Pipe()
		context.AfterFunc(c.ctx, func() { body.CloseWithError(context.Cause(c.ctx)) })
		go func() {
			for range 5 {
				_, _ = handler.Write([]byte("."))
				time.Sleep(239 * time.Second)
			}
		}()
		began := time.Now()
		err := c.relay(&http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: body})
		if err == nil || !errors.Is(context.Cause(c.ctx), errIdle) || recorder.Body.String() != "....." {
			t.Errorf("%v after %q, want the idle timeout after all five", err, recorder.Body)
		}
		if took, want := time.Since(began), 4*239*time.Second+240*time.Second; took < want || took > want+time.Second {
			t.Errorf("idle after %v, want %v", took, want)
		}
	})
}

func TestIdleTimeoutIs240Seconds(t *testing.T) {
	file, err := readHostFile(stage(t, app{bare: true}))
	if err != nil {
		t.Fatal(err)
	}
	filled := Options{}.withDefaults(file)
	if filled.IdleTimeout != 240*time.Second || filled.ReadyTimeout != 30*time.Second || filled.FunctionTimeout != 30*time.Minute {
		t.Errorf("defaults %+v", filled)
	}
}
