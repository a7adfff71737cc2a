/* Lines of `xonce send`: plain or JSON. */
#include "cli/line.h"
#include "base/text.h"
#include <string.h>

/* A value's text: of a string its characters, of anything else the JSON. */
static xonce_status text_of(xo_buf *b, xo_json v)
{
    xo_buf_reset(b);
    if (v.kind == XO_JSON_STRING) {
        xo_json_string(b, v);
    } else {
        xo_buf_add(b, v.p, v.len);
    }
    return xo_buf_status(b);
}

static xonce_status put_text(xonce_message *m, const char *name, xo_buf *text)
{
    return xo_message_put(m, name, strlen(name), text->p ? text->p : "", text->len);
}

static xonce_status read_properties(xonce_message *m, xo_json v, xo_buf *text)
{
    xo_buf name = {0};
    xo_json n, value;
    xonce_status st = v.kind == XO_JSON_OBJECT ? XONCE_OK : xo_fail(XONCE_E_INVALID, "\"properties\" is not an object of names and texts");
    for (xo_json_cursor c = xo_json_members(v); st == XONCE_OK && xo_json_next(&c, &n, &value);) {
        st = text_of(&name, n);
        if (st == XONCE_OK) {
            st = text_of(text, value);
        }
        if (st == XONCE_OK && (value.kind == XO_JSON_OBJECT || value.kind == XO_JSON_ARRAY || value.kind == XO_JSON_NULL)) {
            st = xo_fail(XONCE_E_INVALID, "the property \"%.60s\" is no text", name.p ? name.p : "");
        }
        if (st == XONCE_OK) {
            st = xo_message_put(m, name.p ? name.p : "", name.len, text->p ? text->p : "", text->len);
        }
    }
    xo_buf_free(&name);
    return st;
}

static const char *field_of(xo_json name)
{
    static const char *const fields[] = {"body", "tag", "key", "properties"};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (name.len == strlen(fields[i]) + 2 && memcmp(name.p + 1, fields[i], name.len - 2) == 0) {
            return fields[i];
        }
    }
    return NULL;
}

/* All members but the body, which the message was made with. */
static xonce_status read_members(xonce_message *m, xo_json root, xo_buf *text)
{
    xo_json name, value;
    xonce_status st = XONCE_OK;
    for (xo_json_cursor c = xo_json_members(root); st == XONCE_OK && xo_json_next(&c, &name, &value);) {
        const char *field = field_of(name);
        if (!field) {
            return xo_fail(XONCE_E_INVALID, "the field %.*s is none of body, tag, key, properties", name.len > 60 ? 60 : (int)name.len, name.p);
        }
        if (strcmp(field, "properties") == 0) {
            st = read_properties(m, value, text);
        } else if (strcmp(field, "body") != 0 && value.kind != XO_JSON_NULL) {
            if (value.kind == XO_JSON_OBJECT || value.kind == XO_JSON_ARRAY) {
                return xo_fail(XONCE_E_INVALID, "the field \"%s\" is no text", field);
            }
            st = text_of(text, value);
            if (st == XONCE_OK) {
                st = put_text(m, strcmp(field, "tag") == 0 ? "TAGS" : "KEYS", text);
            }
        }
    }
    return st;
}

static xonce_status add_options(xonce_message *m, const xo_line_rules *r)
{
    xonce_status st = XONCE_OK;
    for (size_t i = 0; st == XONCE_OK && i < r->nproperties; i++) {
        const char *eq = strchr(r->properties[i], '=');
        st = eq ? xo_message_put(m, r->properties[i], (size_t)(eq - r->properties[i]), eq + 1, strlen(eq + 1)) : XONCE_OK;
    }
    if (st == XONCE_OK && r->tag) {
        st = xonce_message_set_property(m, "TAGS", r->tag);
    }
    if (st == XONCE_OK && r->key) {
        st = xonce_message_set_property(m, "KEYS", r->key);
    }
    if (st == XONCE_OK && r->sharding_key) {
        st = xonce_message_set_property(m, "__SHARDINGKEY", r->sharding_key);
    }
    if (st == XONCE_OK && (r->delay_ms >= 0 || r->deliver_at_ms >= 0)) {
        st = xo_producer_later(r->producer, m, r->delay_ms, r->deliver_at_ms);
    }
    return st;
}

static xonce_status make_json(xonce_message **out, const xo_line_rules *r, const char *line, size_t n)
{
    static const char *const path[] = {"body"};
    xo_json root;
    xo_buf text = {0};
    xonce_status st = xo_json_check(&root, line, n);
    if (st == XONCE_OK && root.kind != XO_JSON_OBJECT) {
        st = xo_fail(XONCE_E_INVALID, "not a JSON object {\"body\":...}");
    }
    if (st != XONCE_OK) {
        return st;
    }
    xo_json body = xo_json_find(root, path, 1);
    if (body.kind == XO_JSON_MISSING || body.kind == XO_JSON_NULL) {
        return xo_fail(XONCE_E_INVALID, "the field \"body\" is missing");
    }
    st = text_of(&text, body);
    if (st == XONCE_OK) {
        st = xonce_message_new(out, r->topic, NULL, text.p ? text.p : "", text.len);
    }
    if (st == XONCE_OK) {
        st = add_options(*out, r);
    }
    if (st == XONCE_OK) {
        st = read_members(*out, root, &text);
    }
    xo_buf_free(&text);
    return st;
}

xonce_status xo_line_message(xonce_message **out, const xo_line_rules *r, const char *line, size_t n)
{
    *out = NULL;
    xonce_status st;
    if (r->json) {
        st = make_json(out, r, line, n);
    } else {
        st = xonce_message_new(out, r->topic, NULL, line, n);
        if (st == XONCE_OK) {
            st = add_options(*out, r);
        }
    }
    if (st == XONCE_OK) {
        st = xo_producer_check(r->producer, *out);
    }
    if (st != XONCE_OK) {
        xonce_message_free(*out);
        *out = NULL;
    }
    return st;
}
