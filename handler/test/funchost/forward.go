package funchost

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// forward is a call in forward mode, the host's older way (D 45): the query is
// rebuilt, a chunked body is lost, and the answer waits until it is whole.
func (c *call) forward(port int, a handlerRequest, path, query string) {
	a.header = forwardedHeader(c.r, newGUID())
	a.host = c.r.Host
	a.target = path + rebuiltQuery(query)
	if c.r.ContentLength < 0 {
		a.body, a.length = nil, 0
	}
	response, line, err := c.host.send(c.ctx, port, a, func() {})
	if err != nil {
		c.fail(err)
		return
	}
	defer line.discard()
	defer response.Body.Close()
	whole, err := io.ReadAll(response.Body)
	if err != nil {
		c.fail(fmt.Errorf("%w: %w", errHandlerResponse, err))
		return
	}
	c.writeBuffered(response, whole)
}

// writeBuffered writes a whole writeBuffered at once. The host's formatter drops only what
// would contradict that.
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
	_, _ = c.w.Write(whole) // nobody is told when the caller has left
}

// rebuiltQuery is a query that went through a dictionary: values of one name
// joined with commas, everything escaped anew.
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
