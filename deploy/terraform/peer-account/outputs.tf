output "role_arn" {
  description = "The value of `role` in the policy file."
  value       = alicloud_ram_role.this[var.role_name].arn
}
