package backend_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/classify"
)

// fixedServer is a backend that answers each request with these bytes.
func fixedServer(t testing.TB, answer string) *backend.Client {
	return rawServer(t, func(conn net.Conn, r *bufio.Reader, _ int) {
		for {
			if _, err := readRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(conn, answer)
		}
	})
}

func rawResponse(status, headers, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s", status, len(body), headers, body)
}

func TestResponsesThatMayReachTheCaller(t *testing.T) {
	filtered := `{"error":{"message":"The response was filtered","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}`
	tooLong := `{"error":{"message":"maximum context length","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`
	for answer, want := range map[string]struct {
		outcome string
		body    string
	}{
		rawResponse("200 OK", "", "{}"):                                                             {"served", "{}"},
		rawResponse("400 Bad Request", "", filtered):                                                {"served content filter", filtered},
		rawResponse("400 Bad Request", "", tooLong):                                                 {"served context length", tooLong},
		rawResponse("422 Unprocessable", "", "{}"):                                                  {"misconfigured 422", "{}"},
		rawResponse("401 Unauthorized", "", `{"statusCode":401}`):                                   {"misconfigured 401", `{"statusCode":401}`},
		rawResponse("403 Forbidden", "", "{}"):                                                      {"misconfigured 403", "{}"},
		rawResponse("404 Not Found", "", `{"error":{"code":"DeploymentNotFound"}}`):                 {"misconfigured deployment not found", `{"error":{"code":"DeploymentNotFound"}}`},
		rawResponse("429 Too Many", "retry-after-ms: 250\r\nretry-after: 1\r\n", "{}"):              {"throttled 429", ""},
		rawResponse("424 Failed Dependency", "ms-azureml-model-error-statuscode: 429\r\n", "{}"):    {"throttled 429", ""},
		rawResponse("408 Timeout", "", "{}"):                                                        {"failed 408", ""},
		rawResponse("500 Oops", "", "{}"):                                                           {"failed 500", ""},
		"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>":    {"failed 502", ""},
		"HTTP/1.1 503 Unavailable\r\nContent-Length: 19\r\n\r\nno healthy upstream":                 {"failed 503", ""},
		rawResponse("302 Found", "Location: http://169.254.169.254/latest\r\n", ""):                 {"failed redirect", ""},
		rawResponse("307 Temporary Redirect", "Location: /elsewhere\r\n", ""):                       {"failed redirect", ""},
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n":             {"failed bad status", ""},
		"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + "HTTP/1.1 100 Continue\r\n\r\n" + ok:     {"served", "{}"},
		"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}":          {"served", "{}"},
		rawResponse("400 Bad Request", "", strings.Repeat("x", 100<<10)):                            {"misconfigured 400", strings.Repeat("x", 64<<10)},
		rawResponse("400 Bad Request", "", `{"error":{"code":"insufficient_quota"}}`):               {"misconfigured out of quota", `{"error":{"code":"insufficient_quota"}}`},
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}":                       {"failed transport", ""},
		"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}":                                           {"failed transport", ""},
		"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00": {"served", "\x1f\x8b\x08\x00"},
		rawResponse("200 OK", "Content-Encoding: gzip\r\n", gzipped(`{"usage":{}}`)):                {"served", `{"usage":{}}`},
		rawResponse("400 Bad Request", "Content-Encoding: gzip\r\n", gzipped(filtered)):             {"served content filter", filtered},
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Trailer: 1\r\n\r\n": {"served", "{}"},
	} {
		name, _, _ := strings.Cut(answer, "\r\n")
		t.Run(name, func(t *testing.T) {
			res, got := send(t, fixedServer(t, answer), newBackend(), newRequest())
			if got != want.outcome || (res == nil) != (want.body == "") {
				t.Fatalf("%q, want %q", got, want.outcome)
			}
			if res == nil {
				return
			}
			body, err := io.ReadAll(res.Body)
			if err != nil || string(body) != want.body {
				t.Errorf("%d bytes, %v, want %d", len(body), err, len(want.body))
			}
		})
	}
}

func TestWaitsAndSignals(t *testing.T) {
	client := fixedServer(t, rawResponse("429 Too Many", "retry-after-ms: 250\r\nretry-after: 1\r\nazure-openai-deployment-utilization: 101.5%\r\n", "{}"))
	client.Targets[0].Policy = classify.Policy{MaxWait: 200 * time.Millisecond}
	b := newBackend()
	b.Provisioned = true
	_, o := client.Send(context.Background(), b, newRequest(), nil)
	if o.Class != health.Throttled || o.Limit != health.LimitProvisioned || o.Wait != 200*time.Millisecond || o.RawWait != 250*time.Millisecond || o.Signals.Utilization != 101.5 {
		t.Errorf("outcome %+v", o)
	}
	client = fixedServer(t, rawResponse("200 OK", "x-ratelimit-remaining-tokens: 7\r\nx-ratelimit-limit-tokens: 100\r\n", "{}"))
	res, o := client.Send(context.Background(), b, newRequest(), nil)
	if res == nil || o.Signals.RemainingTokens != 7 || o.Signals.LimitTokens != 100 || o.Signals.Utilization != -1 {
		t.Errorf("outcome %+v", o)
	}
	_ = res.Body.Close()
}

func TestLimitKindOfAProvisionedBackend(t *testing.T) {
	client := fixedServer(t, rawResponse("429 Too Many", "retry-after-ms: 250\r\n", "{}"))
	for provisioned, want := range map[bool]health.LimitKind{true: health.LimitProvisioned, false: health.LimitUnknown} {
		b := newBackend()
		b.Provisioned = provisioned
		if _, o := client.Send(context.Background(), b, newRequest(), nil); o.Limit != want {
			t.Errorf("provisioned %v: %+v", provisioned, o)
		}
	}
}

func TestConnectionIsReusedAfterA429(t *testing.T) {
	conns := 0
	client := rawServer(t, func(conn net.Conn, r *bufio.Reader, n int) {
		conns = n + 1
		for {
			if _, err := readRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(conn, rawResponse("429 Too Many", "", strings.Repeat(" ", 4096)))
		}
	})
	for range 5 {
		if _, got := send(t, client, newBackend(), newRequest()); got != "throttled 429" {
			t.Fatal(got)
		}
	}
	if conns != 1 {
		t.Errorf("%d connections for 5 refusals", conns)
	}
}

func TestErrorWithATruncatedBody(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 429 Too Many\r\nContent-Length: 100\r\n\r\n{": "throttled 429",
		"HTTP/1.1 400 Bad\r\nContent-Length: 100\r\n\r\n{":      "failed cut",
	} {
		client := rawServer(t, func(conn net.Conn, r *bufio.Reader, _ int) {
			_, _ = readRequest(r)
			_, _ = io.WriteString(conn, answer)
		})
		if res, got := send(t, client, newBackend(), newRequest()); res != nil || got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestTLSAndHTTP2(t *testing.T) {
	for _, two := range []bool{false, true} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			_, _ = fmt.Fprintf(w, "HTTP/%d %d", r.ProtoMajor, len(body))
		}))
		s.EnableHTTP2 = true
		s.StartTLS()
		t.Cleanup(s.Close)
		client := newClient(t, s.URL)
		roots := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		connect(t, client.Targets[0], backend.TransportOptions{HTTP2: two, RootCAs: roots})
		calls := 0
		r := newRequest()
		res, o := client.Send(context.Background(), newBackend(), r, func() error { calls++; return nil })
		if res == nil {
			t.Fatal(o.Reason)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		want := fmt.Sprintf("HTTP/1 %d", len(requestBody))
		if two {
			want = fmt.Sprintf("HTTP/2 %d", len(requestBody))
		}
		if string(body) != want || calls != 1 || r.ActiveWrites.Load() != 0 {
			t.Errorf("%s, beforeSend called %d times, %d active writes; want %s", body, calls, r.ActiveWrites.Load(), want)
		}
		_, o = client.Send(context.Background(), newBackend(), newRequest(), func() error { return io.ErrClosedPipe })
		if o.Class != health.Abandoned || o.Reason != "probe lost" {
			t.Errorf("HTTP/2 %v: %+v", two, o)
		}
	}
}

func gzipped(plain string) string {
	var b strings.Builder
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(plain))
	_ = z.Close()
	return b.String()
}
