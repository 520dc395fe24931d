output "role_arns" {
  description = "ARNs of the roles by name: of the functions, of people who look and of people who operate."
  value       = { for name, role in alicloud_ram_role.this : name => role.arn }
}

output "queues" {
  description = "Names of the queues."
  value       = sort([for queue in alicloud_message_service_queue.this : queue.queue_name])
}

output "log_project" {
  description = "The log project with the audit log and the functions' logs."
  value       = alicloud_log_project.this.project_name
}
