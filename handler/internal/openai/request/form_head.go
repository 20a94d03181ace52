package request

import (
	"mime"
	"regexp"
	"strings"
)

// partHead is what the headers of a form's part say.
type partHead struct {
	name    string
	isFile  bool
	encoded bool // the part is in an encoding of its own
}

// readPartHead reads the headers of a part. A part that two parsers may read as two
// different fields is at fault; with strict, so is one that is not written as usual.
func readPartHead(headers []byte, strict bool) (head partHead, fault string) {
	found := false
	for line := range strings.SplitSeq(string(headers), "\r\n") {
		if strings.ContainsAny(line, "\r\n\x00") || strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			return head, "a header of a part is broken into lines"
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(field)) {
		case "content-transfer-encoding":
			switch strings.ToLower(value) {
			case "7bit", "8bit", "binary":
			default:
				head.encoded = true
			}
		case "content-type":
			if strict && !IsUTF8(value) && !extendsASCII(value) {
				return head, "a part has another charset than UTF-8"
			}
		case "content-disposition":
			if found {
				return head, "a part has two dispositions"
			}
			found = true
			if fault = head.disposition(value, strict); fault != "" {
				return head, fault
			}
		}
	}
	switch {
	case !found:
		return head, "a part has no disposition"
	case strict && head.encoded:
		return head, "a part has a Content-Transfer-Encoding; send it as it is"
	}
	return head, ""
}

// plainDisposition is how the SDKs write a disposition, but for the order and case. The
// name of a file may have escapes.
var plainDisposition = regexp.MustCompile(`(?i)^form-data((; ?name=("[^"\\]*"|[^"\\;, ]+))|(; ?filename=("([^"\\]|\\.)*"|[^"\\;, ]+))|(; ?filename\*=(utf-8''|"utf-8'')[^;" ]*"?))+$`)

// hiddenName is what may be read as the name of the field, or of the file, by who does
// not know that a quotation mark in the name of a file is escaped.
var hiddenName = regexp.MustCompile(`(?i)"([^"\\]|\\.)*\\.([^"\\]|\\.)*name\s*(\*\s*[0-9]*\s*)*=`)

// plainName is what a field may be called: file_ids[], image[0], expires_after[anchor].
var plainName = regexp.MustCompile(`^[A-Za-z0-9_.-]+(\[[A-Za-z0-9_.-]*\])*$`)

// disposition reads the disposition of a part.
func (h *partHead) disposition(value string, strict bool) (fault string) {
	kind, params, err := mime.ParseMediaType(value)
	if err != nil || kind != "form-data" || hasExtendedName(value) || strict && (!plainDisposition.MatchString(value) || hiddenName.MatchString(value)) {
		return "the disposition of a part cannot be read"
	}
	_, h.isFile = params["filename"]
	h.name = params["name"]
	if !strict {
		return ""
	}
	h.isFile = h.isFile || h.name == "file" || strings.HasPrefix(h.name, "file[") // whatever a server reads from it, it is checked as one
	return spellingFault(h.name)
}

// speltInForm are the fields of forms that are acted on.
var speltInForm = newFoldings("model", "stream", "n", "prompt", "user", purposeField, "file")

// spellingFault is why a field's name is not acceptable: it is another spelling of one
// that is acted on.
func spellingFault(name string) string {
	if !plainName.MatchString(name) {
		return "the name of a field is not plain"
	}
	if isFreeField(name) {
		return ""
	}
	base, rest, _ := strings.Cut(name, "[")
	if acted := speltInForm.find([]byte(base)); acted != "" && name != acted && (acted != "file" || base != acted) {
		return "the field " + name + " must be written " + acted
	}
	for segment := range strings.SplitSeq(base+"."+strings.NewReplacer("]", "", "[", ".").Replace(rest), ".") {
		if right := spelt.find([]byte(segment)); right != "" && right != segment {
			return "the field " + name + " must be written with " + right
		}
	}
	if base == "_charset_" {
		return "the field _charset_ is not served; send UTF-8"
	}
	return ""
}

// IsUTF8 reports whether the media type of a text, as a Content-Type has it, leaves no
// doubt that it is UTF-8.
func IsUTF8(contentType string) bool {
	if !strings.Contains(strings.ToLower(contentType), "charset") {
		return true
	}
	_, params, err := mime.ParseMediaType(contentType)
	charset := strings.ToLower(params["charset"])
	return err == nil && !strings.Contains(contentType, "*") && (charset == "utf-8" || charset == "utf8" || charset == "us-ascii")
}

// extendsASCII reports whether a text of this media type has the bytes of ASCII for its
// characters, as UTF-8 has: what is acted on is the same in both.
func extendsASCII(contentType string) bool {
	_, params, err := mime.ParseMediaType(contentType)
	switch strings.ToLower(params["charset"]) {
	case "iso-8859-1", "iso-8859-15", "latin1", "windows-1252":
		return err == nil && !strings.Contains(contentType, "*")
	}
	return false
}

// hasExtendedName reports whether the name of a field has the form of RFC 5987, which
// only that of a file may have (RFC 7578).
func hasExtendedName(value string) bool {
	return strings.Contains(strings.ReplaceAll(strings.ToLower(value), "filename*", ""), "name*")
}
