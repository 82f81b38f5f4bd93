/** Text that some interpreter along the way would act on: terraform, Ansible, shells, headers, logs, C. */
export const injections = [
  // biome-ignore lint/suspicious/noTemplateCurlyInString: terraform's, not ours
  '${file("/etc/passwd")}',
  "%{if true}x%{endif}",
  '{{ lookup("pipe","id") }}',
  "$(id)",
  "`id`",
  "a\nb",
  "a\rb",
  "a\r\nX-Evil: 1",
  "a\0b",
  "\u001b[2J",
  "../../etc/passwd",
  "-oProxyCommand=id",
  "'; DROP TABLE orders; --",
  "\u202eevil",
  "<script>alert(1)</script>",
];

/** Whether the text has no control character. */
export const isOneLine = (text: string): boolean => !/\p{Cc}/u.test(text);
