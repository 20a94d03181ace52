package classify

import "testing"

func TestRefusal(t *testing.T) {
	for data, want := range map[string]struct {
		status int
		body   string
	}{
		`{"error":{"code":"content_filter","message":"m","status":400}}`:                                   {400, `{"error":{"code":"content_filter","message":"m","status":400}}`},
		`{"type":"error","error":{"code":"invalid_value","message":"m"},"sequence_number":1}`:              {400, `{"error":{"code":"invalid_value","message":"m"}}`},
		`{"type":"error","code":"invalid_prompt","message":"m","param":null,"sequence_number":1}`:          {400, `{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"invalid_prompt"}}`},
		`{"type":"response.failed","response":{"id":"r","error":{"code":"invalid_prompt","message":"m"}}}`: {400, `{"error":{"code":"invalid_prompt","message":"m"}}`},
		`{"error":"The prompt is not allowed"}`:                                                            {400, `{"error":{"message":"The prompt is not allowed","type":"invalid_request_error","param":null,"code":null}}`},
		`{"error":{"code":404,"message":"m"}}`:                                                             {404, `{"error":{"code":404,"message":"m"}}`},
		`{"error":{"code":"422","message":"m"}}`:                                                           {422, `{"error":{"code":"422","message":"m"}}`},
		`{"error":{"message":"m","type":"not_found_error"}}`:                                               {404, `{"error":{"message":"m","type":"not_found_error"}}`},
		`{"error":{"code":"DeploymentNotFound","message":"m"}}`:                                            {404, `{"error":{"code":"DeploymentNotFound","message":"m"}}`},
		`{"error":{"code":"OperationNotSupported","message":"m"}}`:                                         {400, `{"error":{"code":"OperationNotSupported","message":"m"}}`},
		`{"error":{"code":"PermissionDenied","message":"m"}}`:                                              {403, `{"error":{"code":"PermissionDenied","message":"m"}}`},
		`{"error":{"code":"410","message":"m"}}`:                                                           {410, `{"error":{"code":"410","message":"m"}}`},
		` {"error":{"message":"cut`:                                                                        {400, `{"error":{"message":"","type":"invalid_request_error","param":null,"code":null}}`},
		`text`:                                                                                             {400, `{"error":{"message":"text","type":"invalid_request_error","param":null,"code":null}}`},
	} {
		if status, body := Refusal([]byte(data)); status != want.status || string(body) != want.body {
			t.Errorf("%s: %d %s, want %d %s", data, status, body, want.status, want.body)
		}
	}
}
