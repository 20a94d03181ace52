package funchost

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// forward is a call in forward mode (docs/functions-host.md#modes): the query
// is rebuilt, a chunked body is lost, and the response is read whole before it
// is passed on.
func (c *call) forward(port int, request *handlerRequest, path, query string) {
	request.header = forwardedHeader(c.r, newGUID())
	request.host = c.r.Host
	request.target = path + rebuiltQuery(query)
	if c.r.ContentLength < 0 {
		request.body, request.length = nil, 0
	}
	response, conn, err := c.host.send(c.ctx, port, request, func() {})
	if err != nil {
		c.fail(err)
		return
	}
	defer conn.discard()
	defer response.Body.Close()
	whole, err := io.ReadAll(response.Body)
	if err != nil {
		c.fail(fmt.Errorf("%w: %w", errHandlerResponse, err))
		return
	}
	c.writeBuffered(response, whole)
}

// writeBuffered writes a whole response at once. Only the headers that
// contradict that are dropped.
func (c *call) writeBuffered(response *http.Response, whole []byte) {
	header := c.w.Header()
	for name, values := range response.Header {
		if name != "Connection" && name != "Transfer-Encoding" {
			header[name] = values
		}
	}
	if _, typed := header["Content-Type"]; !typed {
		header["Content-Type"] = nil
	}
	if c.r.Method != http.MethodHead && response.StatusCode != http.StatusNoContent && response.StatusCode != http.StatusNotModified {
		header.Set("Content-Length", strconv.Itoa(len(whole)))
	}
	c.w.WriteHeader(response.StatusCode)
	_, _ = c.w.Write(whole) // the handler has ended; a client that left changes nothing
}

// forwardedHeader is the request header of forward mode: the client's own,
// less what describes a body, with the host's mark at the end of User-Agent.
func forwardedHeader(r *http.Request, invocation string) http.Header {
	header := http.Header{}
	for name, values := range r.Header {
		lost := strings.HasPrefix(name, "Content-") && name != "Content-Type" && name != "Content-Length"
		if !lost && name != "Transfer-Encoding" && name != "Connection" && name != "Allow" && name != "Expires" && name != "Last-Modified" {
			header[name] = joinValues(name, values)
		}
	}
	header.Set("User-Agent", strings.TrimSpace(r.Header.Get("User-Agent")+" Azure-Functions-Host/"+hostVersion))
	header.Set("X-Azure-Functions-Invocationid", invocation)
	header.Set("X-Azure-Functions-Hostversion", hostVersion)
	return header
}

// rebuiltQuery is a query that was parsed into a dictionary and written again:
// values of one name joined with commas, everything escaped anew.
func rebuiltQuery(query string) string {
	var names []string
	values := map[string][]string{}
	for pair := range strings.SplitSeq(strings.TrimPrefix(query, "?"), "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, value = unescaped(name), unescaped(value)
		if _, known := values[strings.ToLower(name)]; !known {
			names = append(names, name)
		}
		values[strings.ToLower(name)] = append(values[strings.ToLower(name)], value)
	}
	var out strings.Builder
	for i, name := range names {
		out.WriteByte("?&"[min(i, 1)])
		out.WriteString(escaped(name) + "=" + escaped(strings.Join(values[strings.ToLower(name)], ",")))
	}
	return out.String()
}

func unescaped(text string) string {
	plain, err := url.QueryUnescape(text)
	if err != nil {
		return text
	}
	return plain
}

func escaped(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }
