/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "door.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <sodium.h>

#define AUTH "auth."

static bool is_base64url(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_';
}

enum err door_token_parse(const char *text, char ret_token[static DOOR_TOKEN_LEN + 1])
{
	for (int i = 0; i < DOOR_TOKEN_LEN; i++)
		if (!is_base64url(text[i]))
			return ERR_INVALID;
	if (strcmp(text + DOOR_TOKEN_LEN, "\n") != 0 && text[DOOR_TOKEN_LEN] != '\0')
		return ERR_INVALID;
	memcpy(ret_token, text, DOOR_TOKEN_LEN);
	ret_token[DOOR_TOKEN_LEN] = '\0';
	return OK;
}

bool door_host_ok(const char *host, uint16_t port)
{
	static const char *const names[] = {"127.0.0.1", "localhost", "[::1]"};

	for (int i = 0; i < 3; i++) {
		char ours[32];

		snprintf(ours, sizeof(ours), "%s:%u", names[i], port);
		if (strcasecmp(host, ours) == 0)
			return true;
		/* Port 80 is left out by browsers. */
		if (port == 80 && strcasecmp(host, names[i]) == 0)
			return true;
	}
	return false;
}

bool door_origin_ok(const char *origin, uint16_t port)
{
	static const char scheme[] = "http://";
	size_t len = strlen(scheme);

	return strncasecmp(origin, scheme, len) == 0 && door_host_ok(origin + len, port);
}

/* Is the word of `len` bytes at p `auth.<token>`? Looks at all of it whatever it holds. */
static bool word_is_token(const char *p, size_t len, const char *token)
{
	char given[sizeof(AUTH) - 1 + DOOR_TOKEN_LEN] = {0}, ours[sizeof(given)];

	memcpy(ours, AUTH, sizeof(AUTH) - 1);
	memcpy(ours + sizeof(AUTH) - 1, token, DOOR_TOKEN_LEN);
	memcpy(given, p, len < sizeof(given) ? len : sizeof(given));
	bool same = sodium_memcmp(given, ours, sizeof(given)) == 0 && len == sizeof(given);
	sodium_memzero(ours, sizeof(ours));
	sodium_memzero(given, sizeof(given));
	return same;
}

bool door_token_ok(const char *protocols, const char token[static DOOR_TOKEN_LEN + 1])
{
	bool named = false, known = false;

	for (const char *p = protocols; *p != '\0';) {
		p += strspn(p, ", \t");
		size_t len = strcspn(p, ", \t");

		named |= len == strlen(DOOR_PROTOCOL) && memcmp(p, DOOR_PROTOCOL, len) == 0;
		known |= len > 0 && word_is_token(p, len, token);
		p += len;
	}
	return named && known;
}
