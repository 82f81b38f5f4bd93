/** RFC 3339 in UTC with whole seconds, as the API writes times. */
export const timestamp = (millis: number) => `${new Date(millis).toISOString().slice(0, 19)}Z`;
