/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "places.h"

#include <math.h>
#include <stddef.h>

#define EARTH_KM 6371.0
#define US_PER_KM 16.0 /* there and back in glass, 10 us, and the detours of cables */
#define BASE_US 4000.0 /* access networks at both ends */
#define RADIANS (3.14159265358979 / 180)

struct place {
	char country[3];
	int8_t lat;  /* degrees north */
	int16_t lon; /* degrees east */
};

/* Capitals (for large countries where most servers stand), to the degree. */
static const struct place places[] = {{"AE", 24, 54}, {"AF", 35, 69}, {"AL", 41, 20},
	{"AM", 40, 45}, {"AO", -9, 13}, {"AR", -35, -58}, {"AT", 48, 16}, {"AU", -34, 151},
	{"AZ", 40, 50}, {"BA", 44, 18}, {"BD", 24, 90}, {"BE", 51, 4}, {"BG", 43, 23},
	{"BH", 26, 51}, {"BO", -16, -68}, {"BR", -23, -46}, {"BS", 25, -77}, {"BW", -25, 26},
	{"BY", 54, 28}, {"BZ", 17, -89}, {"CA", 44, -79}, {"CH", 47, 8}, {"CI", 5, -4},
	{"CL", -33, -71}, {"CM", 4, 12}, {"CN", 31, 121}, {"CO", 5, -74}, {"CR", 10, -84},
	{"CU", 23, -82}, {"CY", 35, 33}, {"CZ", 50, 14}, {"DE", 50, 9}, {"DK", 56, 13},
	{"DO", 18, -70}, {"DZ", 37, 3}, {"EC", 0, -79}, {"EE", 59, 25}, {"EG", 30, 31},
	{"ES", 40, -4}, {"ET", 9, 39}, {"FI", 60, 25}, {"FJ", -18, 178}, {"FR", 49, 2},
	{"GB", 52, 0}, {"GE", 42, 45}, {"GH", 6, 0}, {"GR", 38, 24}, {"GT", 15, -91},
	{"HK", 22, 114}, {"HN", 14, -87}, {"HR", 46, 16}, {"HU", 47, 19}, {"ID", -6, 107},
	{"IE", 53, -6}, {"IL", 32, 35}, {"IM", 54, -4}, {"IN", 19, 73}, {"IQ", 33, 44},
	{"IR", 36, 51}, {"IS", 64, -22}, {"IT", 45, 9}, {"JM", 18, -77}, {"JO", 32, 36},
	{"JP", 36, 140}, {"KE", -1, 37}, {"KG", 43, 75}, {"KH", 12, 105}, {"KR", 37, 127},
	{"KW", 29, 48}, {"KZ", 43, 77}, {"LA", 18, 103}, {"LB", 34, 36}, {"LI", 47, 10},
	{"LK", 7, 80}, {"LT", 55, 25}, {"LU", 50, 6}, {"LV", 57, 24}, {"LY", 33, 13},
	{"MA", 34, -7}, {"MC", 44, 7}, {"MD", 47, 29}, {"ME", 42, 19}, {"MG", -19, 48},
	{"MK", 42, 21}, {"MM", 17, 96}, {"MN", 48, 107}, {"MO", 22, 114}, {"MT", 36, 15},
	{"MU", -20, 58}, {"MX", 19, -99}, {"MY", 3, 102}, {"MZ", -26, 33}, {"NA", -23, 17},
	{"NG", 6, 3}, {"NI", 12, -86}, {"NL", 52, 5}, {"NO", 60, 11}, {"NP", 28, 85},
	{"NZ", -37, 175}, {"OM", 24, 58}, {"PA", 9, -80}, {"PE", -12, -77}, {"PG", -9, 147},
	{"PH", 15, 121}, {"PK", 25, 67}, {"PL", 52, 21}, {"PR", 18, -66}, {"PS", 32, 35},
	{"PT", 39, -9}, {"PY", -25, -58}, {"QA", 25, 52}, {"RO", 44, 26}, {"RS", 45, 20},
	{"RU", 56, 38}, {"RW", -2, 30}, {"SA", 25, 47}, {"SD", 16, 33}, {"SE", 59, 18},
	{"SG", 1, 104}, {"SI", 46, 15}, {"SK", 48, 17}, {"SN", 15, -17}, {"SV", 14, -89},
	{"SY", 34, 36}, {"TH", 14, 101}, {"TN", 37, 10}, {"TR", 41, 29}, {"TT", 11, -62},
	{"TW", 25, 122}, {"TZ", -7, 39}, {"UA", 50, 31}, {"UG", 0, 33}, {"US", 39, -86},
	{"UY", -35, -56}, {"UZ", 41, 69}, {"VE", 10, -67}, {"VN", 21, 106}, {"YE", 15, 44},
	{"ZA", -26, 28}, {"ZM", -15, 28}, {"ZW", -18, 31}};

static uint32_t code(const struct place *p)
{
	return (uint32_t)(uint8_t)p->country[0] << 8 | (uint8_t)p->country[1];
}

/* The table is in order of the codes. NULL if the country is not in it. */
static const struct place *place_find(uint32_t country)
{
	size_t lo = 0, hi = sizeof(places) / sizeof(places[0]);

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (code(&places[mid]) < country)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < sizeof(places) / sizeof(places[0]) && code(&places[lo]) == country ? &places[lo]
										       : NULL;
}

/* Great circle by the haversine formula. */
static double distance_km(const struct place *a, const struct place *b)
{
	double lat = (b->lat - a->lat) * RADIANS, lon = (b->lon - a->lon) * RADIANS;
	double h = sin(lat / 2) * sin(lat / 2) +
		   cos(a->lat * RADIANS) * cos(b->lat * RADIANS) * sin(lon / 2) * sin(lon / 2);

	return 2 * EARTH_KM * asin(fmin(sqrt(h), 1));
}

uint32_t places_rtt_us(uint32_t a, uint32_t b)
{
	const struct place *x = place_find(a), *y = place_find(b);

	if (a != 0 && a == b)
		return PLACES_SAME_US;
	if (x == NULL || y == NULL)
		return PLACES_UNKNOWN_US;
	return (uint32_t)(BASE_US + US_PER_KM * distance_km(x, y));
}
